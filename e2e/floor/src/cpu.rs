//! What a process has used so far, from `/proc` (proc(5)).
//!
//! Must not know what the process is.

use anyhow::Context as _;

/// Clock ticks per second in `/proc`: USER_HZ, which Linux keeps at 100 on every architecture that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Where `utime` and `stime` stand after the parenthesised name: fields 14 and 15, counted from field 3.
const UTIME: usize = 11;

/// CPU seconds, user and system, of all threads of a process.
pub(crate) fn seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse(&stat).with_context(|| format!("{path} is not as proc(5) says"))
}

fn parse(stat: &str) -> Option<f64> {
    // The name may have blanks and parentheses of its own: what counts is the last one.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(UTIME);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    #[test]
    fn stat() {
        let cases = [
            ("7 (a b) S) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 1 0 5 6 7", Some(2.0)),
            ("7 (proxy) S 1 7", None),
            ("", None),
        ];
        for (stat, expect) in cases {
            assert_eq!(super::parse(stat), expect, "{stat}");
        }
    }
}
