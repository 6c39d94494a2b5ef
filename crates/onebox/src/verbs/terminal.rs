//! Standard output as verbs use it: whole texts, colours only where a person looks.

use std::io::{IsTerminal, Write};

/// Words in colour, where that helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colours(bool);

impl Colours {
    /// Colours if standard output is a terminal and nobody asked for none (`NO_COLOR`).
    pub(crate) fn of_stdout() -> Colours {
        Colours(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    /// No colours.
    pub(crate) fn none() -> Colours {
        Colours(false)
    }

    pub(crate) fn red(self, words: &str) -> String {
        self.paint("31;1", words)
    }

    pub(crate) fn green(self, words: &str) -> String {
        self.paint("32", words)
    }

    pub(crate) fn dim(self, words: &str) -> String {
        self.paint("2", words)
    }

    fn paint(self, code: &str, words: &str) -> String {
        if self.0 { format!("\x1b[{code}m{words}\x1b[0m") } else { words.to_owned() }
    }
}

/// Writes a text to standard output.
///
/// # Errors
/// A sentence, if it could not be written. A reader that has gone away, as `head` does, is no error.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("cannot write to standard output: {error}")),
        Ok(()) | Err(_) => Ok(()),
    }
}
