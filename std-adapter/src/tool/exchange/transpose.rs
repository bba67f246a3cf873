//! Converts an array in column-major order to row-major order, with bounded memory.

use crate::tool::error::Result;
use crate::tool::stream::{Payload, Spool};
use std::path::Path;

/// The number of bytes that are in memory at the same time.
const TILE: u64 = 8 << 20;

/// The number of elements of each read and each write of a large array.
const RUN: u64 = 2048;

/// Passes the elements of an array to `receive`, in row-major order. `payload` contains them in column-major order. An
/// element has `size` bytes.
pub fn to_row_major(
    path: &Path,
    payload: &Payload,
    shape: &[u32],
    size: u64,
    receive: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    // Without sides of length 1, more arrays are the same in both orders.
    let sides: Vec<u64> = shape.iter().map(|side| u64::from(*side)).filter(|side| *side != 1).collect();
    if sides.len() < 2 || sides.contains(&0) {
        return payload.for_each_chunk(receive);
    }
    if payload.len() <= TILE {
        return receive(&in_memory(&payload.to_vec()?, &sides, size as usize));
    }
    // The array is a matrix with a row for each index of the first side. After the matrix is transposed, each row is an
    // array of the other sides, which is in column-major order again.
    let rows = sides[0];
    let row_len = payload.len() / rows;
    let transposed = transpose(path, payload, rows, row_len / size, size)?;
    let inner: Vec<u32> = sides[1..].iter().map(|side| *side as u32).collect();
    (0..rows).try_for_each(|row| to_row_major(path, &transposed.part(row * row_len, row_len), &inner, size, receive))
}

/// Transposes a matrix in column-major order to row-major order, in tiles.
fn transpose(path: &Path, payload: &Payload, rows: u64, columns: u64, size: u64) -> Result<Payload> {
    let tile_rows = rows.min(RUN);
    let tile_columns = (TILE / (tile_rows * size)).clamp(1, columns);
    let mut spool = Spool::new()?;
    for first_column in (0..columns).step_by(tile_columns as usize) {
        let tile_columns = tile_columns.min(columns - first_column);
        for first_row in (0..rows).step_by(tile_rows as usize) {
            let tile_rows = tile_rows.min(rows - first_row);
            let tile = if tile_rows == rows {
                payload.part(first_column * rows * size, tile_columns * rows * size).to_vec()?
            } else {
                let mut tile = Vec::with_capacity((tile_rows * tile_columns * size) as usize);
                for column in first_column..first_column + tile_columns {
                    let run = payload.part((column * rows + first_row) * size, tile_rows * size);
                    tile.extend_from_slice(&run.to_vec()?);
                }
                tile
            };
            let tile = in_memory(&tile, &[tile_rows, tile_columns], size as usize);
            if tile_columns == columns {
                spool.write_at(first_row * columns * size, &tile)?;
                continue;
            }
            for (row, run) in (first_row..).zip(tile.chunks((tile_columns * size) as usize)) {
                spool.write_at((row * columns + first_column) * size, run)?;
            }
        }
    }
    spool.into_payload(path)
}

/// Converts an array in memory from column-major to row-major order.
fn in_memory(from: &[u8], sides: &[u64], size: usize) -> Vec<u8> {
    // The distance between two elements of `from` along each side.
    let strides: Vec<usize> = sides
        .iter()
        .scan(1_usize, |stride, side| {
            let current = *stride;
            *stride *= *side as usize;
            Some(current)
        })
        .collect();
    let mut to = Vec::with_capacity(from.len());
    let (mut index, mut position) = (vec![0_u64; sides.len()], 0);
    while to.len() < from.len() {
        to.extend_from_slice(&from[position * size..(position + 1) * size]);
        // Advances the last index, and the one before it if the last index is complete.
        for side in (0..sides.len()).rev() {
            index[side] += 1;
            position += strides[side];
            if index[side] < sides[side] {
                break;
            }
            position -= strides[side] * sides[side] as usize;
            index[side] = 0;
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array in row-major order and in column-major order, whose elements are their indices.
    fn array(shape: &[u32]) -> (Vec<u8>, Vec<u8>) {
        let len = shape.iter().product::<u32>();
        let rows: Vec<u8> = (0..len).flat_map(u32::to_le_bytes).collect();
        let reversed: Vec<u64> = shape.iter().rev().map(|side| u64::from(*side)).collect();
        // The conversion is its own inverse if the shape is reversed.
        let columns = in_memory(&rows, &reversed, 4);
        (rows, columns)
    }

    fn convert(shape: &[u32], columns: Vec<u8>) -> Vec<u8> {
        let mut found = Vec::new();
        let mut receive = |bytes: &[u8]| {
            found.extend_from_slice(bytes);
            Ok(())
        };
        to_row_major(Path::new("test"), &Payload::from(columns), shape, 4, &mut receive).unwrap();
        found
    }

    #[test]
    fn columns_become_rows() {
        let columns: Vec<u8> = [0_u32, 3, 1, 4, 2, 5].into_iter().flat_map(u32::to_le_bytes).collect();
        assert_eq!(convert(&[2, 3], columns), array(&[2, 3]).0);
        for shape in [&[][..], &[5], &[1, 7, 1], &[2, 3, 4], &[4, 3, 2, 5, 2, 3], &[0, 3]] {
            let (rows, columns) = array(shape);
            assert!(convert(shape, columns) == rows, "{shape:?}");
        }
    }

    #[test]
    fn arrays_that_do_not_fit_into_a_tile_are_converted() {
        for shape in [&[1500, 2100][..], &[3, 1_000_001], &[1_000_001, 3], &[130, 4, 130, 40], &[5000, 1, 600]] {
            let (rows, columns) = array(shape);
            assert!(rows.len() as u64 > TILE);
            assert!(convert(shape, columns) == rows, "{shape:?}");
        }
    }
}
