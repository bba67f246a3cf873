//! Mutants of streams: changed structures, changed fields and changed bytes.

use crate::plain::{Content, Data, Extension, Object, Stream, Tensor, repair_crc, repair_length, write};
use training_monitor_tests::random::Random;

/// A mutant, and whether its crc was repaired after the last change.
#[derive(Debug)]
pub struct Mutant {
    pub bytes: Vec<u8>,
    pub is_repaired: bool,
}

/// Returns a random mutant of a stream.
pub fn mutant(mut stream: Stream, random: &mut Random) -> Mutant {
    let kind = random.below(4);
    if kind == 0 || kind == 3 {
        for _ in 0..1 + random.below(2) {
            change_structure(&mut stream, random);
        }
    }
    let (mut bytes, fields) = write(&stream, None, random);
    if kind == 1 || kind == 3 {
        let altered = random.below(fields);
        (bytes, _) = write(&stream, Some(altered), random);
    }
    if kind != 2 {
        if random.once_in(30) {
            change_length(&mut bytes, random);
        }
        return Mutant { bytes, is_repaired: true };
    }
    for _ in 0..1 + random.below(3) {
        change_bytes(&mut bytes, random);
    }
    let is_repaired = random.once_in(2);
    if is_repaired {
        if !random.once_in(4) {
            repair_length(&mut bytes);
        }
        repair_crc(&mut bytes);
    }
    Mutant { bytes, is_repaired }
}

/// Appends bytes to the stream, or gives it another length and the crc that belongs to it.
fn change_length(bytes: &mut Vec<u8>, random: &mut Random) {
    if random.once_in(2) {
        let copy = bytes[..1 + random.below(bytes.len())].to_vec();
        return bytes.extend(copy);
    }
    let len = random.below(bytes.len() + 8);
    bytes[5..9].copy_from_slice(&(len as u32).to_le_bytes());
    if let Some(stream) = bytes.get_mut(..len) {
        repair_crc(stream);
    }
}

fn random_tensor<'a>(stream: &'a mut Stream, random: &mut Random) -> Option<&'a mut Tensor> {
    let tensors = |object: &'a mut Object| match &mut object.content {
        Content::StateDict(tensors) => tensors.iter_mut().collect(),
        Content::Value(..) => Vec::new(),
    };
    let mut tensors: Vec<_> = stream.objects.iter_mut().flat_map(tensors).collect();
    if tensors.is_empty() { None } else { Some(tensors.swap_remove(random.below(tensors.len()))) }
}

/// Copies a random item of a list to another place, exchanges two items, or removes one.
fn change_list<T: Clone>(list: &mut Vec<T>, random: &mut Random) {
    if list.is_empty() {
        return;
    }
    let (from, to) = (random.below(list.len()), random.below(list.len()));
    match random.below(4) {
        0 | 1 => list.insert(to, list[from].clone()),
        2 => list.swap(from, to),
        _ => _ = list.remove(from),
    }
}

fn change_structure(stream: &mut Stream, random: &mut Random) {
    match random.below(16) {
        0 => change_list(&mut stream.objects, random),
        1 => change_list(&mut stream.extensions, random),
        2 => change_list(&mut stream.object_names, random),
        3 => {
            // The stream contains one object of a list. The object can be missing in the list.
            stream.object_names.push(random.pick(&["a", "b"]).to_string());
            stream.object_names.extend(stream.objects.iter().take(random.below(3)).map(|object| object.name.clone()));
            stream.objects.truncate(1 + random.below(2));
        }
        4 | 5 => {
            let count = stream.objects.len();
            if count > 0 {
                let object = random.below(count);
                match &mut stream.objects[object].content {
                    Content::StateDict(tensors) => change_list(tensors, random),
                    Content::Value(_, bytes) => change_list(bytes, random),
                }
            }
        }
        6 => {
            let name = stream.objects.first().map(|object| object.name.clone()).unwrap_or_default();
            if random.once_in(2) {
                stream.objects.iter_mut().for_each(|object| object.name = name.clone());
            } else if let Some(tensor) = random_tensor(stream, random) {
                tensor.name = name;
            }
        }
        7 => {
            for extension in &mut stream.extensions {
                if let Data::Metadata(list) = &mut extension.data {
                    change_list(list, random);
                }
            }
        }
        8 | 9 => {
            let id = *random.pick(&[0, 1, 2, 3, 4, 5, 127, 128, u32::MAX]);
            let data = (0..random.below(6)).map(|_| random.byte() & 3).collect();
            let extension = Extension { id, required: random.once_in(3), data: Data::Unknown(data) };
            let sorted = stream.extensions.iter().position(|other| other.id >= id).unwrap_or(stream.extensions.len());
            let place = if random.once_in(8) { 0 } else { sorted };
            stream.extensions.insert(place, extension);
        }
        10 => {
            let extension = &mut stream.extensions;
            extension.iter_mut().for_each(|extension| extension.required |= random.once_in(2));
        }
        11 => {
            if let Some(tensor) = random_tensor(stream, random) {
                tensor.element_type = random.below(15) as u8;
            }
        }
        12 | 13 => {
            if let Some(tensor) = random_tensor(stream, random) {
                let side = *random.pick(&[0, 1, 2, 3, 256, 65_536, u32::MAX]);
                let place = random.below(tensor.shape.len() + 1);
                tensor.shape.insert(place, side);
                if random.once_in(2) {
                    tensor.data.clear();
                }
            }
        }
        14 => {
            if let Some(run) = &mut stream.run {
                match random.below(3) {
                    0 => run.phase = *random.pick(&[0, 10, 11, 12, 300]),
                    1 => run.stop = Some((*random.pick(&[0, 4, 5, 6, 7, 300]), 9)),
                    _ => run.handlers.resize(31 + random.below(3), (1, 2, vec![3; 126 + random.below(3)])),
                }
            }
        }
        _ => {
            for extension in &mut stream.extensions {
                if let Data::Identity { rule, .. } = &mut extension.data {
                    *rule = *random.pick(&[0, 1, 2, 255]);
                }
            }
        }
    }
}

fn change_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(8)).min(bytes.len());
    match random.below(8) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.byte(),
        3 => bytes.truncate(at),
        4 => bytes.insert(at, random.byte()),
        5 => drop(bytes.drain(at..end)),
        6 => {
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copy);
        }
        // The header, with the version and the length.
        _ => {
            let at = random.below(bytes.len().min(16));
            bytes[at] = bytes[at].wrapping_add(*random.pick(&[1, 255, 128]));
        }
    }
}
