//! Calls the public functions of the saves that do not block the program.

use crate::format::display;
use crate::memories::Chip;
use crate::policies::any;
use core::hint::black_box;
use training_monitor::checkpoint::Named;
use training_monitor::event::EpochCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::flash::{Slots, YieldingNorFlash};
use training_monitor::{Engine, ModelCheckpoint, State};

/// Calls all public functions of background saves, of saves in pieces and of the flash driver that yields.
pub fn call_all() {
    let mut weights = black_box([0.0_f32; 40]);
    let mut model = Named::new("model", &mut weights);
    let flash = YieldingNorFlash::new(Chip::<8>([0; 3 * 1024]), any(), || _ = black_box(0));
    let Ok(store) = Slots::<_, 3>::open(flash, any()..any()) else { return };
    let Ok(mut checkpoint) = ModelCheckpoint::<2>::best_by(|_: &State<f32>| any()).attach(EpochCompleted, store) else {
        return;
    };
    let mut piece = [0; 64];
    let decision = SaveDecision { step: any(), score: any() };
    if let Ok(mut save) = checkpoint.save_in_pieces(decision, any(), None, &mut model, &mut piece) {
        while let Ok(false) = save.advance() {}
    }
    let mut checkpoint = checkpoint.in_background([0; 512]).with_piece_len(any());
    let mut engine = Engine::<f32>::new(any());
    black_box(engine.resume(&mut model, &mut checkpoint).is_ok());
    black_box(engine.run(&mut model, 0..any(), &mut checkpoint, |_, _, _| any()).is_ok());
    if let Some(failed) = checkpoint.copy_too_small() {
        display(&failed);
        defmt::info!("{}", failed);
    }
    black_box((checkpoint.is_saving(), checkpoint.advance()));
}
