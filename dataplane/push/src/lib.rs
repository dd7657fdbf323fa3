//! Sans-IO: how a table version gets from one publisher to many subscribers.
