//! One series' cell in one block of cells, and how the cells of many blocks are read as one.
//!
//! A block has one writer most of the time (its worker), so relaxed atomics never contend; the reader may see a moment
//! in which one cell is newer than another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::proto;

/// Upper bounds of a [`Histogram`]'s buckets in seconds: from a response out of the memory of a neighbouring node to a
/// long poll.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What can be summed over blocks.
pub(super) trait Cell: Default {
    /// The type that Prometheus is told.
    const TYPE: proto::MetricType;

    /// Writes the sum of all `cells`.
    fn collect<'a>(cells: impl Iterator<Item = &'a Self>, metric: &mut proto::Metric)
    where
        Self: 'a;
}

/// Only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }
}

impl Cell for Counter {
    const TYPE: proto::MetricType = proto::MetricType::COUNTER;

    fn collect<'a>(cells: impl Iterator<Item = &'a Self>, metric: &mut proto::Metric) {
        let mut counter = proto::Counter::default();
        counter.set_value(cells.map(|cell| cell.0.load(Ordering::Relaxed)).sum::<u64>() as f64);
        metric.set_counter(counter);
    }
}

/// Goes up and down. What one block counts up another may count down: only the sum is meant.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(crate) fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// This block's share of the sum, which wraps where another block counted down.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// This block's share of the sum.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Cell for Gauge {
    const TYPE: proto::MetricType = proto::MetricType::GAUGE;

    fn collect<'a>(cells: impl Iterator<Item = &'a Self>, metric: &mut proto::Metric) {
        let sum = cells.map(|cell| cell.0.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        let mut gauge = proto::Gauge::default();
        // Two's complement: one block may be below zero, and the sum too for a moment.
        gauge.set_value(sum.cast_signed() as f64);
        metric.set_gauge(gauge);
    }
}

/// How long something took, in buckets.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// By the smallest bound that holds it; the last is for what exceeds all bounds.
    counts: [AtomicU64; BUCKETS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Cell for Histogram {
    const TYPE: proto::MetricType = proto::MetricType::HISTOGRAM;

    fn collect<'a>(cells: impl Iterator<Item = &'a Self>, metric: &mut proto::Metric) {
        let mut counts = [0; BUCKETS.len() + 1];
        let mut sum_micros: u64 = 0;
        for cell in cells {
            for (total, count) in counts.iter_mut().zip(&cell.counts) {
                *total += count.load(Ordering::Relaxed);
            }
            sum_micros = sum_micros.wrapping_add(cell.sum_micros.load(Ordering::Relaxed));
        }
        let mut cumulative = 0;
        let buckets = BUCKETS.iter().zip(&counts).map(|(&bound, &count)| {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum_micros as f64 / 1e6);
        metric.set_histogram(histogram);
    }
}
