//! Owns the encoding of field sections with the static table and Huffman strings (RFC 9204 section 4.5).
//!
//! The peer's dynamic table is never used, so nothing is remembered between sections and no encoder stream is opened.

use super::{FIELD_OVERHEAD, huffman, integer, static_table};

/// A field section that grows line by line.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    size: u64,
}

impl<'a> Encoder<'a> {
    /// Begins a section at the end of `out`, with the prefix of a section that refers to no dynamic entry.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(&[0, 0]);
        Self { out, size: 0 }
    }

    /// The section's size as the peer will count it (RFC 9114 section 4.2.2).
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a line. A sensitive value tells every later hop to never put it into a table (RFC 9204 section 7.1.3).
    pub fn line(&mut self, name: &[u8], value: &[u8], sensitive: bool) {
        self.size += (name.len() + value.len()) as u64 + FIELD_OVERHEAD;
        match static_table::find(name, value) {
            static_table::Found::Line(index) => integer::encode(6, 0b1100_0000, index.into(), self.out),
            static_table::Found::Name(index) => {
                let never = if sensitive { 0b0010_0000 } else { 0 };
                integer::encode(4, 0b0101_0000 | never, index.into(), self.out);
                self.string(7, 0, value);
            }
            static_table::Found::Nothing => {
                let never = if sensitive { 0b0001_0000 } else { 0 };
                self.string(3, 0b0010_0000 | never, name);
                self.string(7, 0, value);
            }
        }
    }

    /// Appends a string: Huffman-coded when that is shorter. The bit above the prefix says which.
    fn string(&mut self, prefix: u32, flags: u8, text: &[u8]) {
        let coded = huffman::encoded_len(text);
        if coded < text.len() {
            integer::encode(prefix, flags | 1 << prefix, coded as u64, self.out);
            huffman::encode(text, self.out);
        } else {
            integer::encode(prefix, flags, text.len() as u64, self.out);
            self.out.extend_from_slice(text);
        }
    }
}
