//! Panics of code that is not the stories' own: those of listeners are on purpose.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use parking_lot::Mutex;

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Sees the panics of the whole process from its making on.
pub struct Watch {
    from: usize,
}

impl Watch {
    pub fn start() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let next = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                note(panic);
                next(panic);
            }));
        });
        Self {
            from: PANICS.lock().len(),
        }
    }

    pub fn seen(&self) -> Vec<String> {
        PANICS.lock()[self.from..].to_vec()
    }
}

fn note(panic: &PanicHookInfo<'_>) {
    let is_ours = panic
        .location()
        .is_none_or(|at| !at.file().starts_with("tests/"));
    if is_ours {
        PANICS.lock().push(panic.to_string());
    }
}
