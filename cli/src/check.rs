//! `headrace check`: what a cluster would say to these manifests, and an exit code that says whether it would take them.

use std::process::ExitCode;

use crate::args::{EXIT_FAILURE, EXIT_USAGE, Format, ManifestArgs};
use crate::development_ca::DevelopmentCa;
use crate::manifest::Manifests;
use crate::output::Output;
use crate::report::Report;
use crate::world;

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    manifests: ManifestArgs,
    /// How the report is written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Reads, compiles and reports.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    check(&args.manifests, args.output)
}

/// Exit code 0 when everything is accepted, 1 when something is not, 2 when something cannot be read or nothing is there.
pub(crate) fn check(args: &ManifestArgs, format: Format) -> anyhow::Result<ExitCode> {
    let manifests = Manifests::load(&args.filename, None);
    // Nothing is written to disk by a check: the certificates that standalone would make are thrown away.
    let prepared = world::prepare(&manifests, &mut DevelopmentCa::throwaway());
    let compiled = headrace_compile::compile(&prepared.world, &world::options());
    let report = Report::new(&manifests, &prepared, &compiled.statuses);
    match format {
        Format::Text => Output::Stdout.text(&report.text())?,
        Format::Json => Output::Stdout.line(&report.json())?,
    }
    let unusable = manifests.has_unreadable() || (manifests.is_empty() && report.all_accepted());
    Ok(match (unusable, report.all_accepted()) {
        (true, _) => ExitCode::from(EXIT_USAGE),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(EXIT_FAILURE),
    })
}
