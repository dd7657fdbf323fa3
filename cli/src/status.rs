//! `headrace status`: what an installation in a cluster says of itself, and an exit code that says whether all is well.
//!
//! Owns the command. Every pod is asked by itself, through the API server (as `kubectl port-forward` does), so that
//! neither a network policy nor a Service is in the way, and one that does not answer is one line of the answer.

mod ask;
mod pods;
mod text;
mod told;

use std::process::ExitCode;

use crate::args::{EXIT_FAILURE, Format};
use crate::cluster::Cluster;
use crate::output::Output;

/// What `status` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The namespace of the installation
    #[arg(short, long, default_value = "headrace-system", env = "HEADRACE_NAMESPACE")]
    namespace: String,
    /// The kubeconfig's context to use instead of the current one
    #[arg(long)]
    context: Option<String>,
    /// How the status is written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Asks, and tells. Exit code 0 when every pod serves what is current, and 1 when something is not as it should be.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let cluster = Cluster::connect(args.context.as_deref()).await?;
        ask::installation(&cluster, &args.namespace).await
    })?;
    match args.output {
        Format::Text => Output::Stdout.text(&text::render(&status))?,
        Format::Json => Output::Stdout.line(&serde_json::to_string(&status)?)?,
    }
    Ok(if status.troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}
