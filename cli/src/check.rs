//! `headrace check`: what a cluster says to its objects, or would say to these manifests, and an exit code that says
//! whether it takes them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;

use headrace_compile::{ConditionStatus, DEFAULT_POD_SET, Kind, ObjectRef, Options, Ports, Statuses, World};
use headrace_crds::condition::{GatewayReason, Reason};

use crate::args::{EXIT_FAILURE, EXIT_USAGE, Format};
use crate::cluster::{Cluster, Missing, Read};
use crate::development_ca::DevelopmentCa;
use crate::manifest::Manifests;
use crate::output::{Output, complain};
use crate::report::Report;
use crate::world::{self, Prepared};

/// What a controller gives out to Gateways; which port each gets makes no difference here.
const ALLOTTED_PORTS: RangeInclusive<u16> = 20_000..=29_999;

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Manifest files, or directories to search for *.yaml, *.yml and *.json; `-` is standard input. Without any, the
    /// objects of the cluster of the current kubeconfig are judged
    #[arg(short, long, value_name = "DIR-or-FILE", num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Judge the manifests as if they were applied to the cluster of the current kubeconfig
    #[arg(long)]
    cluster: bool,
    /// The kubeconfig's context to use instead of the current one
    #[arg(long)]
    context: Option<String>,
    /// How the report is written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Reads, compiles and reports.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let against_cluster = args.cluster || args.context.is_some() || args.filename.is_empty();
    if !against_cluster {
        return check(&args.filename, args.output);
    }
    let manifests = Manifests::load(&args.filename, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let read = runtime.block_on(async { Cluster::connect(args.context.as_deref()).await?.read().await });
    let read = match read {
        Ok(read) => read,
        Err(error) => {
            complain(&format!("headrace: {error:#}"));
            complain("headrace: without a cluster, name manifests with --filename");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let mut world = read.world.clone();
    manifests.objects().for_each(|object| world.insert(object.clone()));
    let options = options(&world, &read);
    let prepared = Prepared::as_it_is(world);
    let mut compiled = headrace_compile::compile(&prepared.world, &options);
    excuse_new_gateways(&mut compiled.statuses, &read.world);
    let mut report = Report::new(&manifests, &prepared, &compiled.statuses);
    for (kind, missing) in &read.missing {
        let is_optional = *missing == Missing::NotInstalled;
        report.remark_on_kind(*kind, &missing.to_string(), is_optional);
    }
    read.strange.iter().for_each(|strange| report.remark_on_object(strange));
    tell(&report, manifests.has_unreadable(), args.output)
}

/// A Gateway that is not in the cluster yet cannot have an address, which is nothing to correct.
fn excuse_new_gateways(statuses: &mut Statuses, cluster: &World) {
    let unassigned = Reason::from(GatewayReason::AddressNotAssigned);
    let is_new = |object: &ObjectRef| object.kind == Kind::Gateway && !cluster.gateways.contains_key(&object.key());
    statuses.problems.retain(|problem| problem.reason != unassigned || !is_new(&problem.object));
    for gateway in statuses.gateways.iter_mut().filter(|gateway| is_new(&gateway.object)) {
        for condition in gateway.conditions.iter_mut().filter(|condition| condition.reason == unassigned) {
            condition.status = ConditionStatus::True;
            condition.reason = GatewayReason::Programmed.into();
            condition.message = "The Gateway is programmed when its Service has got an address.".to_owned();
        }
    }
}

/// What manifests alone amount to.
///
/// Exit code 0 when everything is accepted, 1 when something is not, 2 when something cannot be read or nothing is there.
pub(crate) fn check(paths: &[PathBuf], format: Format) -> anyhow::Result<ExitCode> {
    let manifests = Manifests::load(paths, None);
    // Nothing is written to disk by a check: the certificates that standalone would make are thrown away.
    let prepared = world::prepare(&manifests, &mut DevelopmentCa::throwaway());
    let compiled = headrace_compile::compile(&prepared.world, &world::options());
    let report = Report::new(&manifests, &prepared, &compiled.statuses);
    let unusable = manifests.has_unreadable() || (manifests.is_empty() && report.all_accepted());
    tell(&report, unusable, format)
}

fn tell(report: &Report, unusable: bool, format: Format) -> anyhow::Result<ExitCode> {
    match format {
        Format::Text => Output::Stdout.text(&report.text())?,
        Format::Json => Output::Stdout.line(&report.json())?,
    }
    Ok(match (unusable, report.all_accepted()) {
        (true, _) => ExitCode::from(EXIT_USAGE),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(EXIT_FAILURE),
    })
}

/// As the controller of a cluster compiles. Which pod sets the installation has is not read: whatever is asked for exists.
fn options(world: &World, read: &Read) -> Options {
    let asked = world.gateway_parameters.values().filter_map(|parameters| parameters.spec.pod_set.clone());
    Options {
        ports: Ports::Allotted { range: ALLOTTED_PORTS, before: BTreeMap::new() },
        pod_sets: asked.chain([DEFAULT_POD_SET.to_owned()]).collect(),
        gateway_api_version: read.gateway_api_version.clone(),
        ..Options::default()
    }
}
