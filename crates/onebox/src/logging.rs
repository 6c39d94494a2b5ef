//! Log lines: readable on a terminal, JSON otherwise.

use std::io::IsTerminal;

use onebox_node::{LogFormat, Settings};
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error.
///
/// # Errors
/// A sentence, if the level cannot be read.
pub(crate) fn start(settings: &Settings) -> Result<(), String> {
    let filter = EnvFilter::try_new(&settings.log_level).map_err(|error| format!("log_level {:?}: {error}", settings.log_level))?;
    let text = match settings.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = if text {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).with_span_list(false).try_init()
    };
    // Somebody may have started logging before, in a test for example; theirs stays.
    if started.is_ok() {
        panics_are_logged();
    }
    Ok(())
}

/// A panic in a feature is answered and logged; this adds where it happened.
fn panics_are_logged() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        let words = info.payload_as_str().unwrap_or("a panic without words");
        tracing::error!(place, thread = std::thread::current().name(), "panic: {words}");
    }));
}
