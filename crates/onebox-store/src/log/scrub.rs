//! The scrub of a log: reads what is durable of the segments in `log/` again, as a start would, and changes nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use onebox_service::Fault;

use super::LogOptions;
use super::format::{Place, SegmentHeader, SegmentNumber};
use super::replay::{Replay, damage};
use super::segment::{self, Folder};
use super::window::Window;
use crate::disk::{Disk, DiskFile, OpenMode};

/// A scrub in progress: a plain value, to be stepped by a background thread.
#[derive(Debug)]
pub struct LogScrub {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    /// The segments that are to be read, ascending.
    segments: VecDeque<SegmentNumber>,
    /// The end of what was durable when it began.
    end: Place,
    /// What was read so far adds up to this.
    replay: Option<Replay>,
}

impl LogScrub {
    pub(super) fn new(disk: Arc<dyn Disk>, options: LogOptions, segments: VecDeque<SegmentNumber>, end: Place) -> LogScrub {
        LogScrub { disk, options, segments, end, replay: None }
    }

    /// Reads one segment more, and tells whether there are others. Not to be called again once it gave `false` or a fault.
    ///
    /// # Errors
    /// Damage, with file and offset; or the fault met while reading.
    pub fn step(&mut self) -> Result<bool, Fault> {
        let Some(number) = self.segments.pop_front() else { return Ok(false) };
        let (file, path, header) = self.open(number)?;
        let next = match self.segments.front() {
            Some(next) => Some(self.open(*next)?.2),
            None => None,
        };
        let replay = self.replay.get_or_insert_with(|| Replay::at(&header));
        let end = if next.is_some() { file.len()? } else { self.end.offset };
        let mut window = Window::new(file, self.options.node, number, end);
        match next {
            Some(next) => replay.sealed(&mut window, &path, &header, &next, &mut |_| {})?,
            None => {
                let whole = replay.open_segment(&mut window, &path, &header, &mut |_| {})?;
                if whole < end {
                    let what = format!("frame {} does not read back as written", replay.sequence.0);
                    return Err(damage(&path, whole, &what));
                }
            }
        }
        Ok(!self.segments.is_empty())
    }

    /// Opens a segment where it is, or where it was moved to a moment ago.
    fn open(&self, number: SegmentNumber) -> Result<(Arc<dyn DiskFile>, String, SegmentHeader), Fault> {
        let open = |folder: Folder| self.disk.open(&folder.path(number), OpenMode::Read).map(|file| (file, folder));
        let (file, folder) = open(Folder::Log).or_else(|fault| open(Folder::History).map_err(|_| fault))?;
        let header = segment::durable_header(&*file, folder, number, &self.options)?;
        Ok((file, folder.path(number), header))
    }
}
