//! A gzip bomb: blanks without end in few bytes, for clients that should have a limit. Written by hand (RFC 1951, RFC 1952):
//! one literal blank, then nothing but "repeat the last byte 258 times" in 13 bits.

/// `mib` MiB of blanks, gzipped to a 160th. The stream has no end mark: who reads that far gets an error.
pub(super) fn gzip(mib: u32) -> Vec<u8> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let matches = (u64::from(mib) << 20) / 258 + 1;
    let mut bits = Bits::default();
    bits.push(0, 1); // not the last block
    bits.push(1, 2); // fixed codes
    bits.push(reversed(0x30 + u32::from(b' '), 8), 8);
    // From here on eight matches are thirteen bytes: after the first eight the bytes repeat.
    for _ in 0..matches.min(16) {
        bits.push(reversed(0b1100_0101, 8), 8); // length 258
        bits.push(0, 5); // distance 1
    }
    let mut out = HEADER.to_vec();
    out.extend(&bits.done);
    let period: Vec<u8> = bits.done[bits.done.len() - 13..].to_vec();
    for _ in 0..matches.saturating_sub(16) / 8 {
        out.extend(&period);
    }
    out
}

/// Huffman codes are packed from their highest bit on.
fn reversed(code: u32, width: u32) -> u32 {
    code.reverse_bits() >> (32 - width)
}

#[derive(Default)]
struct Bits {
    done: Vec<u8>,
    open: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, value: u32, width: u32) {
        self.open |= value << self.count;
        self.count += width;
        while self.count >= 8 {
            self.done.push((self.open & 0xff) as u8);
            self.open >>= 8;
            self.count -= 8;
        }
    }
}
