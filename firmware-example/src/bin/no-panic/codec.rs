//! Calls the public functions of the checkpoint encoder and decoder.

use crate::format::{display, error};
use crate::policies::any;
use core::hint::black_box;
use training_monitor::checkpoint::{
    self, Checksum, Contents, Crc32, Differences, ElementType, Header, Inspect, ItemName, Loader, NestedArray,
    ObjectVisitor, Objects, RankingRule, Series, StateDict, Tensor, TensorUnavailable, TensorView, TensorVisitor,
};
use training_monitor::embedded_io::{self, Read, Write};
use training_monitor::run_record::RunRecord;

/// Calls all public functions of the encoder and the decoder for `model`, and for a model with all element types.
pub fn call_all<T: Objects>(model: &mut T) {
    call_codec(model);
    let layer = Layer {
        weight: any(),
        scale: any(),
        double: black_box([0.0; 40]),
        half: any(),
        brain: any(),
        quantized: any(),
        flags: black_box([false; 70]),
        count: any(),
    };
    call_codec(&mut Nested { layer, bias: any() });
}

fn call_codec<T: Objects>(model: &mut T) {
    let mut crc = Crc32::default();
    crc.update(black_box(&[1, 2, 3]));
    black_box(crc.value());

    let series =
        Series { name: black_box("series"), rule: any(), model: checkpoint::model_signature(model).unwrap_or(0) };
    let header = Header {
        step: any(),
        sequence: any(),
        iteration: any(),
        score: any(),
        score_name: black_box(Some("score")),
        run: any(),
        series,
        save_id: any(),
    };
    black_box(header.series_id());
    black_box(Contents::new(any()));
    let metadata: &[(&str, &[u8])] = black_box(&[("firmware", b"1.4.0")]);
    let contents = Contents { header, record: None, single_object: black_box(None), allow_non_finite: any(), metadata };
    let mut buffer = Buffer { bytes: [0; 512], position: 0 };
    let mut record = RunRecord::new();
    let view: &mut RunRecord<[u8]> = &mut record;
    view.copy_from(&RunRecord::<[u8; 20]>::with_capacity());
    black_box(ItemName::from(black_box("name")).as_str());
    black_box(checkpoint::is_utf8(black_box(&[0xc3])));
    black_box(checkpoint::measure(&contents, model).is_ok());
    match checkpoint::encode(&mut buffer, &contents, model) {
        Ok(encoded) => defmt::info!("{}", encoded),
        Err(failed) => defmt::error!("{}", failed),
    }
    match checkpoint::load(&black_box(buffer.bytes), model, Some(&mut record)) {
        Ok(info) => drop(black_box(info)),
        Err(failed) => error(&failed),
    }
    let mut scratch = [0; 64];
    match checkpoint::inspect(&mut buffer, &mut scratch, &mut Inspector) {
        Ok(info) => drop(black_box(info)),
        Err(failed) => error(&failed),
    }
    black_box(checkpoint::encode_with::<Crc32, _, _>(&mut buffer, &contents, model).is_ok());
    black_box(checkpoint::load_with::<Crc32, _>(&buffer.bytes, model, None).is_ok());
    black_box(checkpoint::inspect_with::<Crc32, _, _>(&mut buffer, &mut scratch, &mut Inspector).is_ok());
    let mut differences = Differences::default();
    let mut loader = Loader::new(model, &mut scratch);
    if any() {
        loader = loader.allow_differences(&mut differences);
    }
    black_box(loader.verify::<Crc32, _>(&mut buffer, None).is_ok());
    black_box(loader.check_complete::<core::convert::Infallible>().is_ok());
    black_box(loader.load::<Crc32, _>(&mut buffer).is_ok());
    defmt::info!("{}", differences);
}

/// A byte buffer that acts as a writer and as a reader.
struct Buffer {
    bytes: [u8; 512],
    position: usize,
}

impl embedded_io::ErrorType for Buffer {
    type Error = core::convert::Infallible;
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let free = self.bytes.iter_mut().skip(self.position);
        let written = free.zip(bytes).map(|(to, from)| *to = *from).count();
        self.position += written;
        Ok(written)
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl Read for Buffer {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        let read = into.iter_mut().zip(self.bytes.iter().skip(self.position)).map(|(to, from)| *to = *from).count();
        self.position += read;
        Ok(read)
    }
}

/// Receives all parts of a checkpoint stream from the function `inspect`.
struct Inspector;

impl Inspect for Inspector {
    fn score_name(&mut self, name: &str) {
        black_box(name);
    }
    fn series(&mut self, name: &str, rule: RankingRule) {
        black_box((name, rule));
    }
    fn run(&mut self, record: &RunRecord<[u8]>) {
        black_box((record, record.capacity()));
    }
    fn object_name(&mut self, name: &str) {
        black_box(name);
    }
    fn tensor(&mut self, tensor: Tensor<'_>) {
        black_box(tensor);
    }
    fn writer(&mut self, version: &str) {
        black_box(version);
    }
    fn metadata(&mut self, name: &str, len: u32) {
        black_box((name, len));
    }
    fn payload(&mut self, bytes: &[u8]) {
        black_box(bytes);
    }
    fn value(&mut self, object: &str, len: u32) {
        black_box((object, len));
    }
}

/// A model with nested modules and a tensor that may be unavailable.
struct Nested {
    layer: Layer,
    bias: [f32; 3],
}

#[derive(StateDict)]
struct Layer {
    weight: [[f32; 2]; 3],
    scale: f32,
    double: [f64; 40],
    half: [half::f16; 9],
    brain: [half::bf16; 9],
    quantized: [[i8; 3]; 2],
    flags: [bool; 70],
    count: u64,
}

/// Lists the tensors of [`Nested`].
struct Tensors<'a>(&'a mut Nested);

impl StateDict for Tensors<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        if any() {
            return Err(TensorUnavailable.into());
        }
        visitor.module(black_box("layer"), &mut self.0.layer)?;
        visitor.tensor("view", TensorView::new(black_box(&[3]), &mut self.0.bias))?;
        visitor.tensor("read-only", TensorView::read_only(black_box(&[1]), black_box(&[0.0_f32])))?;
        let mut arena = black_box([0; 17]);
        let element_type = ElementType::ALL[usize::from(any::<u8>() % 13)];
        display(&element_type);
        defmt::info!("{} {} {}", element_type, element_type.name(), element_type.is_float());
        let bytes = arena.get_mut(any()..any()).unwrap_or_default();
        let shape = [bytes.len() as u32 / element_type.size()];
        let mut view = TensorView::from_bytes(element_type, &shape, bytes);
        black_box((view.shape(), view.element_type(), view.bytes(), view.is_read_only()));
        black_box((view.elements::<f64>(), f32::SHAPE, <[f32; 3]>::flatten(&mut [[0.0; 3]])));
        black_box(view.elements_mut::<i16>());
        visitor.tensor("arena", view)
    }
}

impl Objects for Nested {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("tensors", &mut Tensors(self))?;
        visitor.state_dict("layer", &mut self.layer)?;
        visitor.value_with("bias", &mut self.bias, &mut black_box([0; 8]))?;
        visitor.value("scale", &mut self.layer.scale)
    }
}
