//! What was measured, and how it compares.

use std::time::Duration;

use crate::cpu::Used;

/// How a connection's packets reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    /// By another worker of its pod, which the kernel brings them to where it does not steer.
    HandedOver,
    /// By another pod.
    Forwarded,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Direct, Self::HandedOver, Self::Forwarded];
}

/// One turn.
#[derive(Debug)]
pub(crate) struct Sample {
    megabytes_per_second: f64,
    /// Microseconds of CPU time for each datagram of both directions, of the pod whose the connection is.
    owner: f64,
    /// The same of the pod that forwards.
    entry: f64,
    /// In a thousand datagrams.
    lost: f64,
    p50: f64,
    p99: f64,
}

impl Sample {
    pub(crate) fn new(
        octets: usize,
        seconds: f64,
        datagrams: u64,
        lost: u64,
        Used([owner, entry]): Used,
        round_trips: Vec<Duration>,
    ) -> Self {
        let each = |nanoseconds: u64| nanoseconds as f64 / 1e3 / datagrams as f64;
        let at = |percent: usize| round_trips[round_trips.len() * percent / 100].as_secs_f64() * 1e6;
        Self {
            megabytes_per_second: octets as f64 / 1e6 / seconds,
            owner: each(owner),
            entry: each(entry),
            lost: lost as f64 / datagrams as f64 * 1e3,
            p50: at(50),
            p99: at(99),
        }
    }
}

/// A line of the table.
type Line = (&'static str, fn(&Sample) -> f64);

const LINES: &[Line] = &[
    ("megabytes per second, there and back", |sample| sample.megabytes_per_second),
    ("CPU of the owner, us per datagram", |sample| sample.owner),
    ("CPU of the pod that forwards, us per datagram", |sample| sample.entry),
    ("CPU of both, us per datagram", |sample| sample.owner + sample.entry),
    ("lost, of a thousand datagrams", |sample| sample.lost),
    ("echo of 64 octets, p50 us", |sample| sample.p50),
    ("echo of 64 octets, p99 us", |sample| sample.p99),
];

/// Below this, a figure of the direct way is next to nothing, and nothing is a multiple of it.
const NEXT_TO_NOTHING: f64 = 0.05;

/// The median of every way, and beside it how many times that of the direct way it is, by the medians of one run.
pub(crate) fn print(samples: &[(Way, Sample)]) {
    println!("| one connection | direct | handed over | | forwarded | |");
    println!("|---|---:|---:|---:|---:|---:|");
    for (title, figure) in LINES {
        let of = |way: Way| median(samples.iter().filter(|(of, _)| *of == way).map(|(_, sample)| figure(sample)));
        let (direct, handed_over, forwarded) = (of(Way::Direct), of(Way::HandedOver), of(Way::Forwarded));
        let times =
            |figure: f64| if direct > NEXT_TO_NOTHING { format!("x {:.2}", figure / direct) } else { String::new() };
        println!(
            "| {title} | {direct:.2} | {handed_over:.2} | {} | {forwarded:.2} | {} |",
            times(handed_over),
            times(forwarded)
        );
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
