//! The process: makes every part, hands each what it needs of the others, and ends them in order.
//!
//! Owns the wiring alone. A part that ends while it should not ends the process, since the kubelet restarts a process and
//! nobody restarts a part.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use headrace_compile::{Key, Options, References};
use kube::client::ClientBuilder;
use kube::{Client, Config};
use kube_runtime::events::Reporter;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::admin::{Admin, WorldMetrics};
use crate::arguments::{Arguments, LogFormat};
use crate::engine::{Engine, EngineMetrics};
use crate::leader::{Candidate, LeaderMetrics};
use crate::metrics::Metrics;
use crate::metrics::api::ApiMetrics;
use crate::publish::{Boundary, Bounds, Publish, Settings};
use crate::quic::{self, QuicMetrics};
use crate::service::{self, ServiceMetrics};
use crate::status::{self, Identity, StatusMetrics};
use crate::watch::{Store, WatchMetrics, watch as watch_cluster};

/// Ports that Ingresses are served on in the pods, clear text and TLS, and by which clients know them. The chart's Service
/// joins the two.
const INGRESS_PORTS: (u16, u16) = (8080, 8443);
const INGRESS_PUBLIC_PORTS: (u16, u16) = (80, 443);

/// To reach the API server. It is nearby, and what cannot be had is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two octets of an answer: longer than a watch is asked to last.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// For a request to be taken by the connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// For the Lease to be released and streams to end; well within a pod's usual thirty seconds.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the program.
pub fn main(arguments: Arguments) -> ExitCode {
    log(&arguments);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the controller ends");
            ExitCode::FAILURE
        }
    }
}

fn log(arguments: &Arguments) {
    let filter = EnvFilter::builder().parse_lossy(&arguments.log);
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    match arguments.log_format {
        LogFormat::Json => lines.json().flatten_event(true).init(),
        LogFormat::Text => lines.init(),
    }
}

/// Runs until SIGTERM or SIGINT, or until a part fails.
async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    // An error means that there is one already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let metrics = Metrics::new();
    let client = client(&metrics).await?;
    let stop = CancellationToken::new();
    let mut parts = start(&arguments, &client, &metrics, &stop).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pod = arguments.pod_name,
        namespace = arguments.namespace,
        push = %arguments.push_address,
        admin = %arguments.admin_address,
        "the controller runs"
    );
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = parts.all.join_next() => Some(ended),
        ended = parts.orderly.join_next() => Some(ended),
    };
    tracing::info!("the controller ends");
    stop.cancel();
    // What has to be told to others. The rest just stops.
    let orderly = async { while parts.orderly.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_TIMEOUT, orderly).await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    match failed {
        None => Ok(()),
        Some(Some(Ok(Ended { part, result }))) => {
            result.with_context(|| part).and_then(|()| anyhow::bail!("{part} ended"))
        }
        Some(Some(Err(error))) => Err(error).context("a part of the controller failed"),
        Some(None) => anyhow::bail!("nothing is left to do"),
    }
}

async fn client(metrics: &Metrics) -> anyhow::Result<Client> {
    let mut config = Config::infer().await.context("no way to the API server")?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    let builder = ClientBuilder::try_from(config).context("no client for the API server")?;
    Ok(builder.with_layer(&ApiMetrics::new(metrics)).build())
}

/// A part that is over.
struct Ended {
    part: &'static str,
    result: anyhow::Result<()>,
}

#[derive(Default)]
struct Parts {
    /// Those that are just dropped.
    all: JoinSet<Ended>,
    /// Those that have something to tell to others before they end.
    orderly: JoinSet<Ended>,
}

impl Parts {
    fn spawn(&mut self, part: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.all.spawn(async move {
            work.await;
            Ended { part, result: Ok(()) }
        });
    }

    fn spawn_orderly(&mut self, part: &'static str, work: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.orderly.spawn(async move { Ended { part, result: work.await } });
    }
}

/// Makes every part and starts it.
async fn start(
    arguments: &Arguments,
    client: &Client,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> anyhow::Result<Parts> {
    let admin_listener = listen("the admin server", arguments.admin_address).await?;
    let push_listener = listen("the push", arguments.push_address).await?;
    let store = Arc::new(Store::default());
    let publish = Publish::new(push_settings(arguments), metrics);

    let (want, wanted) = watch::channel(Arc::new(References::new()));
    let engine_metrics = EngineMetrics::new(metrics);
    let leader_metrics = LeaderMetrics::new(metrics);
    let Arguments { namespace, lease, pod_name, .. } = arguments;
    let candidate = Candidate::new(client.clone(), namespace, lease, pod_name, publish.challenges(), leader_metrics);
    let leadership = candidate.subscribe();
    let engine_options = options(arguments);
    let engine =
        Engine::new(Arc::clone(&store), engine_options, leadership.clone(), publish.refusals(), want, engine_metrics);
    let generations = engine.subscribe();

    let keys = quic::Known::default();
    let shares = keys.shares();
    let mut parts = Parts::default();
    let admin = Admin {
        pod: pod_name.clone(),
        metrics: metrics.clone(),
        world_metrics: WorldMetrics::new(metrics),
        store: Arc::clone(&store),
        generations: generations.clone(),
        leadership: leadership.clone(),
        publish: publish.clone(),
        quic: keys.clone(),
    };
    parts.spawn("the admin server", async move { match admin.serve(admin_listener).await {} });
    parts.spawn("the watches", watch_cluster(client.clone(), Arc::clone(&store), wanted, WatchMetrics::new(metrics)));
    parts.spawn("the engine", engine.run());

    let boundary = Boundary::in_cluster(client, namespace, &arguments.ca, push_listener);
    let pushed = publish.clone().run(boundary, generations.clone(), shares, leadership.clone(), stop.clone());
    parts.spawn_orderly("the push", async move { pushed.await.context("the push server") });
    let candidacy = candidate.run(stop.clone());
    parts.spawn_orderly("the election", async move {
        candidacy.await;
        Ok(())
    });

    let quic_metrics = QuicMetrics::new(metrics, arguments.pod_sets.iter().map(|set| set.name.as_str()));
    let kept =
        quic::run(client.clone(), quic_settings(arguments), publish.clone(), leadership.clone(), keys, quic_metrics);
    parts.spawn("QUIC's keys", kept);

    let (service_faults, faults) = watch::channel(Arc::default());
    let identity = identity(arguments);
    let services = service::Inputs {
        identity: identity.clone(),
        store: Arc::clone(&store),
        generations: generations.clone(),
        leadership: leadership.clone(),
    };
    let statuses = status::Inputs {
        identity,
        store,
        generations,
        acknowledgements: publish.acknowledgements(),
        leadership,
        service_faults: faults,
    };
    parts.spawn("Services", service::run(client.clone(), services, service_faults, ServiceMetrics::new(metrics)));
    parts.spawn("status", status::run(client.clone(), statuses, StatusMetrics::new(metrics)));
    Ok(parts)
}

async fn listen(what: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{what} cannot listen on {address}"))
}

fn push_settings(arguments: &Arguments) -> Settings {
    Settings {
        namespace: arguments.namespace.clone(),
        push_service: arguments.push_service.clone(),
        pod_sets: arguments.pod_sets_by_name(),
        bounds: Bounds::default(),
    }
}

fn quic_settings(arguments: &Arguments) -> quic::Settings {
    quic::Settings {
        namespace: arguments.namespace.clone(),
        secrets: arguments.quic_secrets.clone(),
        pod_sets: arguments.pod_sets_by_name(),
        period: arguments.quic_key_rotation(),
        reporter: Reporter {
            controller: arguments.controller_name.clone(),
            instance: Some(arguments.pod_name.clone()),
        },
    }
}

fn identity(arguments: &Arguments) -> Identity {
    Identity {
        controller_name: arguments.controller_name.clone(),
        pod_name: arguments.pod_name.clone(),
        namespace: arguments.namespace.clone(),
        pod_sets: arguments.pod_sets_by_name(),
    }
}

/// What the compiler is told once and for all.
fn options(arguments: &Arguments) -> Options {
    Options {
        controller_name: arguments.controller_name.clone(),
        ingress_controller_name: arguments.ingress_controller_name.clone(),
        ingress_ports: INGRESS_PORTS,
        ingress_public_ports: Some(INGRESS_PUBLIC_PORTS),
        ingress_service: Some(Key::new(arguments.namespace.as_str(), arguments.ingress_service.as_str())),
        pod_sets: arguments.pod_sets_by_name().into_keys().collect(),
        ..Options::default()
    }
}

/// Declares every metric of the program, for the reference.
#[cfg(test)]
pub(crate) fn declare(metrics: &Metrics) {
    use clap::Parser as _;
    let arguments =
        Arguments::try_parse_from(["headrace-controller", "--pod-name", "any"]).expect("all else has defaults");
    ApiMetrics::new(metrics);
    EngineMetrics::new(metrics);
    LeaderMetrics::new(metrics);
    Publish::new(push_settings(&arguments), metrics);
    QuicMetrics::new(metrics, ["default"].into_iter());
    ServiceMetrics::new(metrics);
    StatusMetrics::new(metrics);
    WatchMetrics::new(metrics);
    WorldMetrics::new(metrics);
}
