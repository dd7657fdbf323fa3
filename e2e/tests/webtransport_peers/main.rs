//! WebTransport between peers that know nothing of Headrace: webtransport-go and aioquic as clients and as backends, both
//! against each other and against TCP and UDP; and what real services say behind `headrace connect -L`.
//!
//! ```text
//! webtransport-go, aioquic  ->  Headrace  ->  webtransport-go, aioquic          (matrix)
//! webtransport-go, aioquic  ->  Headrace  ->  a TCP and a UDP echo              (plain)
//! ssh, pgbench, dig  ->  headrace connect -L  ->  Headrace  ->  sshd, PostgreSQL, dnsmasq   (services)
//! ```

mod hostile;
mod matrix;
mod peers;
mod plain;
mod services;
mod stage;
