//! The program of a device: the settings that can differ from one start to the next. Its text form lists the settings
//! that differ from the default, for example `rule=1,saved=3`.

use core::fmt;
use core::str::FromStr;

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $default:literal, $max:literal;)+) => {
        /// The settings of a program. All are small numbers, so that a program is a short text.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct Program {
            $($(#[$doc])* pub $name: u8,)+
        }

        impl Default for Program {
            fn default() -> Self {
                Program { $($name: $default,)+ }
            }
        }

        impl Program {
            /// The names of all settings and their highest values.
            pub const SETTINGS: &'static [(&'static str, u8)] = &[$((stringify!($name), $max),)+];

            /// Returns the setting with this name.
            pub fn setting(&mut self, name: &str) -> Option<&mut u8> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }
        }
    };
}

settings! {
    /// The ranking rule: 0 keeps the latest checkpoints, 1 the best ones.
    rule: 0, 1;
    /// The save interval in calls. Used by rule 0.
    interval: 1, 3;
    /// The events of the checkpoint handler: 0 each iteration, 1 each epoch, 2 each epoch and the end of the run,
    /// 3 each iteration and the end of the run.
    at: 0, 3;
    /// The score name: 0 for none, or a number of a name. Used by rule 1.
    score_name: 0, 2;
    /// The name of the series: 0 for the empty name, or a number of a name.
    series: 0, 2;
    /// The number of checkpoints that are kept.
    saved: 2, 3;
    /// The step source: 0 calls, 1 iteration, 2 epoch.
    steps: 0, 2;
    /// The early stopping handlers: 0 none, 1 one, 2 two with different patience, 3 the same two in the other order.
    early: 0, 3;
    /// The patience of the first early stopping handler. The second one has 3 more.
    patience: 2, 5;
    /// Whether a timer is attached.
    timer: 0, 1;
    /// Whether a NaN guard is attached.
    guard: 0, 1;
    /// Whether the last output is kept in checkpoints.
    keep: 0, 1;
    /// Whether a second checkpoint handler saves a second series to its own store.
    second: 0, 1;
    /// Whether the checkpoint handler is attached to an evaluator, which runs after each epoch.
    evaluator: 0, 1;
    /// The number of iterations per epoch; 0 for the length of the data.
    length: 0, 6;
    /// The maximum number of epochs.
    epochs: 3, 5;
    /// The model: 0, or one with another shape (1), another tensor name (2), another number of tensors (3), or an average
    /// of its weights (4).
    model: 0, 4;
    /// The layout of the flash region, see `flash::LAYOUTS`. Other media ignore it.
    layout: 0, 4;
    /// Whether the program uses a custom loop instead of `Engine::run`.
    custom: 0, 1;
    /// The handler that can stop the run: 0 none, 1 a time limit, 2 a target, 3 a divergence limit, 4 a spike guard.
    stop: 0, 4;
    /// Whether the run is rolled back after a divergence, a spike or a NaN.
    roll: 0, 1;
    /// Whether the best checkpoint is restored at the end of the run. Used by rule 1 without an evaluator.
    restore: 0, 1;
    /// Whether the running average of the output reduces the rate of the model on a plateau.
    smooth: 0, 1;
}

/// The number of batches in the data.
pub const DATA: u32 = 4;

impl Program {
    /// Returns the number of iterations per epoch.
    pub fn epoch_length(&self) -> u32 {
        if self.length == 0 { DATA } else { u32::from(self.length) }
    }

    /// Returns whether the program configures the number of iterations per epoch.
    pub fn sets_epoch_length(&self) -> bool {
        self.length != 0 || self.custom != 0
    }

    /// Returns the patience of the early stopping handlers, in the order of the handlers.
    pub fn patience(&self) -> Vec<u32> {
        let first = u32::from(self.patience.max(1));
        match self.early {
            0 => vec![],
            1 => vec![first],
            2 => vec![first, first + 3],
            _ => vec![first + 3, first],
        }
    }

    /// Returns whether the model of this program can load a checkpoint of the model `saved`. A load is strict: the
    /// tensors must be the same.
    pub fn fits(&self, saved: u8) -> bool {
        self.model == saved
    }

    /// Returns the score name of the checkpoint handler.
    pub fn score_name(&self) -> Option<&'static str> {
        if self.rule == 0 { None } else { [None, Some("accuracy"), Some("loss")][usize::from(self.score_name)] }
    }

    /// Returns the name of the series.
    pub fn series_name(&self) -> &'static str {
        ["", "first", "other"][usize::from(self.series)]
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut program, mut default) = (*self, Program::default());
        let mut separator = "";
        for (name, _) in Program::SETTINGS {
            let (value, usual) = (program.setting(name), default.setting(name));
            if value != usual
                && let Some(value) = value
            {
                write!(f, "{separator}{name}={value}")?;
                separator = ",";
            }
        }
        if separator.is_empty() { f.write_str("default") } else { Ok(()) }
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut program = Program::default();
        for field in text.split(',').filter(|field| *field != "default") {
            let (name, value) = field.split_once('=').ok_or_else(|| format!("{field:?}: expected NAME=NUMBER"))?;
            let place = program.setting(name).ok_or_else(|| format!("there is no setting {name:?}"))?;
            *place = value.parse().map_err(|error| format!("{field:?}: {error}"))?;
            let max = Program::SETTINGS.iter().find(|(setting, _)| *setting == name).map_or(0, |(_, max)| *max);
            if *place > max {
                return Err(format!("{field:?}: the highest value is {max}"));
            }
        }
        Ok(program)
    }
}
