//! Open items night by night as the picture inside the mail: a PNG of bars on a clear ground, in colours that stand out on
//! white and on black. Pure: the same nights, the same bytes. Figures and days stand beside it as text.

use crate::failure::{Class, Failure};
use crate::report::chart::parts;
use crate::report::facts::TrendNight;

/// Width of one night in the mail, in pixels of the layout; the picture has twice as many, for sharp screens.
pub(super) const SLOT: u32 = 40;
/// Height in the mail.
pub(super) const HEIGHT: u32 = 72;
const SHARP: u32 = 2;
/// Width of a bar, and the line under all of them, in pixels of the picture.
const BAR: u32 = 48;
const GROUND: u32 = 2;

/// Clear, older, new, line under the bars.
const PALETTE: [u8; 12] = [0, 0, 0, 0x7c, 0x93, 0xab, 0xd9, 0x53, 0x4f, 0x8a, 0x97, 0xa5];
const CLEAR: [u8; 4] = [0, 255, 255, 255];

/// The picture of these nights.
///
/// # Errors
/// INTERNAL when the encoder refuses it.
pub(super) fn picture(nights: &[TrendNight]) -> Result<Vec<u8>, Failure> {
    let slots = u32::try_from(nights.len().max(1)).unwrap_or(u32::MAX).min(100);
    let (width, height) = (slots * SLOT * SHARP, HEIGHT * SHARP);
    let mut paper = Paper {
        width,
        pixels: vec![0; (width * height) as usize],
    };
    paper.fill(0, width, height - GROUND, height, 3);
    let most = nights.iter().map(|night| parts(night).1).max().unwrap_or(0).max(1);
    let room = i64::from(height - GROUND);
    for (slot, night) in (0..slots).zip(nights) {
        let (new, open) = parts(night);
        // What is there is seen, however small.
        let pixels = |count: i64| -> u32 {
            let tall = i128::from(count) * i128::from(room) / i128::from(most);
            u32::try_from(tall).unwrap_or(0).max(4 * u32::from(count > 0))
        };
        let left = slot * SLOT * SHARP + (SLOT * SHARP - BAR) / 2;
        let (ground, top) = (height - GROUND, height - GROUND - pixels(open));
        paper.fill(left, left + BAR, top, ground, 1);
        paper.fill(left, left + BAR, top, (top + pixels(new)).min(ground), 2);
    }
    encode(&paper, width, height).map_err(|_| Failure::new(Class::Internal, "the mail's picture could not be encoded"))
}

struct Paper {
    width: u32,
    /// One palette index per pixel, row by row.
    pixels: Vec<u8>,
}

impl Paper {
    fn fill(&mut self, left: u32, right: u32, top: u32, bottom: u32, colour: u8) {
        for row in top..bottom {
            let begin = (row * self.width) as usize;
            self.pixels[begin + left as usize..begin + right as usize].fill(colour);
        }
    }
}

fn encode(paper: &Paper, width: u32, height: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(PALETTE.as_slice());
    encoder.set_trns(CLEAR.as_slice());
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    // Four pixels to a byte; a slot is a multiple of four wide.
    let packed: Vec<u8> = paper
        .pixels
        .chunks(4)
        .map(|four| four.iter().fold(0, |byte, pixel| byte << 2 | pixel))
        .collect();
    writer.write_image_data(&packed)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night(open: i64, new: i64) -> TrendNight {
        TrendNight {
            business_day: "2026-03-04".to_owned(),
            open,
            new,
        }
    }

    /// Palette indices of one column of the picture, from the top, run lengths.
    fn column(bytes: &[u8], x: usize) -> Vec<(u8, usize)> {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::IDENTITY);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        let mut runs: Vec<(u8, usize)> = Vec::new();
        for row in 0..frame.height as usize {
            let byte = pixels[row * frame.line_size + x / 4];
            let colour = byte >> (6 - 2 * (x % 4)) & 3;
            match runs.last_mut() {
                Some((last, count)) if *last == colour => *count += 1,
                _ => runs.push((colour, 1)),
            }
        }
        runs
    }

    #[test]
    fn the_bars_are_as_tall_as_the_counts_with_the_new_ones_on_top() {
        let bytes = picture(&[night(10, 0), night(20, 5), night(0, 0), night(1, 1)]).unwrap();
        assert_eq!(column(&bytes, 40), [(0, 71), (1, 71), (3, 2)]);
        assert_eq!(column(&bytes, 120), [(2, 35), (1, 107), (3, 2)]);
        assert_eq!(column(&bytes, 200), [(0, 142), (3, 2)]);
        assert_eq!(column(&bytes, 280), [(0, 135), (2, 7), (3, 2)]);
        // Between the bars nothing.
        assert_eq!(column(&bytes, 80), [(0, 142), (3, 2)]);
    }

    #[test]
    fn no_count_breaks_the_picture_and_the_same_nights_are_the_same_bytes() {
        for nights in [vec![], vec![night(i64::MAX, i64::MAX), night(-5, 3), night(1, -2)]] {
            let bytes = picture(&nights).unwrap();
            assert_eq!(bytes, picture(&nights).unwrap());
            assert!(bytes.len() < 4000);
        }
    }
}
