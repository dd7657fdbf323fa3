//! The bounds of the exchange, in one place, since both sides and the file hold themselves to the same.

/// Octets of one message that carries parts of a table or of an inventory, as it is encoded.
///
/// Small enough that two of them do not hold up what else is on the connection, large enough that the overhead of a
/// message is nothing beside it. Far below the 4 MiB that gRPC implementations take by default.
pub const MAX_PART_OCTETS: usize = 256 * 1024;

/// Sections of one table: what a table's own bounds allow of listeners, routes, backends, certificates, keys and peers
/// together.
pub const MAX_SECTIONS: usize = 4_096 + 3 * 131_072 + 1 + 4_096;

/// Octets of one section. An object in a cluster has at most 1.5 MiB, and a route repeats names that its object does not.
pub const MAX_SECTION_OCTETS: usize = 16 * 1024 * 1024;

/// Octets of all sections of a table. 100,000 routes of a common size are a third of it; a pod that would hold more
/// would not fit beside what it serves.
pub const MAX_TABLE_OCTETS: usize = 256 * 1024 * 1024;

/// Octets of a section's id. The longest that Kubernetes allows is a namespace (63), a Gateway (253) and a listener
/// (253) with what is between.
pub const MAX_ID_OCTETS: usize = 1_024;

/// Octets of all ids of an inventory: a quarter of what as many ids of common length have.
pub const MAX_INVENTORY_OCTETS: usize = 64 * 1024 * 1024;

/// Faults in one answer. With the bounds of their texts an answer has at most 2 MiB. More are told when these are mended.
pub const MAX_FAULTS: usize = 1_024;

/// Octets of a fault's reason, which ends in a condition's message.
pub const MAX_REASON_OCTETS: usize = 1_024;
