//! `serve --specs`: specs that others send are run here, one at a time, beside the node and without its data.

use std::sync::{Arc, Mutex, PoisonError};

use onebox_node::{SpecAnswers, SpecAsk, SpecForm};
use onebox_service::{BadRequest, Fault, Service};
use onebox_spec::wire::{Answering, DESCRIPTORS, Form};

/// Where they are run.
pub(crate) struct SpecDesk {
    service: Arc<dyn Service>,
    answering: Mutex<Answering>,
}

impl SpecDesk {
    pub(crate) fn new(service: &Arc<dyn Service>) -> Result<SpecDesk, Fault> {
        Ok(SpecDesk { service: Arc::clone(service), answering: Mutex::new(Answering::new(Arc::clone(service))?) })
    }
}

impl SpecAnswers for SpecDesk {
    fn answer(&self, ask: SpecAsk, form: SpecForm, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        let form = match form {
            SpecForm::Json => Form::Json,
            SpecForm::Binary => Form::Binary,
        };
        let mut answering = self.answering.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            // What panicked may have left rows behind: the next spec gets a state of its own.
            self.answering.clear_poison();
            let mut answering = poisoned.into_inner();
            *answering = Answering::new(Arc::clone(&self.service)).expect("a state in memory can be made, as it was at the start");
            answering
        });
        match ask {
            SpecAsk::About => answering.about(form),
            SpecAsk::Run => answering.run(form, body),
        }
    }

    fn descriptors(&self) -> &'static [u8] {
        DESCRIPTORS
    }
}
