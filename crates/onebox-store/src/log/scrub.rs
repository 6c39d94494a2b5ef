//! The scrub of a log: reads what is durable of the segments in `log/` again, from the disk, as a start would.
//!
//! It changes nothing, and sees only what was durable when it began: what the writer adds meanwhile, and what is moved to the history,
//! is no damage.

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
    options: LogOptions,
    /// The segments that are to be read, consecutive; the last is the open one.
    segments: VecDeque<SegmentNumber>,
    /// The end of what was durable when it began.
    end: Place,
    /// What was read so far adds up to this.
    replay: Option<Replay>,
}

impl LogScrub {
    pub(super) fn new(options: LogOptions, segments: VecDeque<SegmentNumber>, end: Place) -> LogScrub {
        LogScrub { options, segments, end, replay: None }
    }

    /// Reads one segment more, and tells whether there are others. Not to be called again once it gave `false` or a fault.
    ///
    /// # Errors
    /// Damage, with file and offset; or the fault met while reading.
    pub fn step(&mut self, disk: &dyn Disk) -> Result<bool, Fault> {
        let number = self.segments.pop_front().expect("a scrub that has ended is not stepped");
        let (file, path, header) = open(disk, &self.options, number)?;
        let replay = self.replay.get_or_insert_with(|| Replay::at(&header));
        let Some(next) = self.segments.front() else {
            let mut window = Window::new(file, self.options.node, number, self.end.offset);
            let whole = replay.open_segment(&mut window, &path, &header, &mut |_| {})?;
            if whole == self.end.offset {
                return Ok(false);
            }
            return Err(damage(&path, whole, &format!("frame {} does not read back as written", replay.sequence.0)));
        };
        let mut window = Window::new(Arc::clone(&file), self.options.node, number, file.len()?);
        let (_, _, next) = open(disk, &self.options, *next)?;
        replay.sealed(&mut window, &path, &header, &next, &mut |_| {})?;
        Ok(true)
    }
}

/// Opens a segment where it is, or where it was moved to a moment ago.
fn open(disk: &dyn Disk, options: &LogOptions, number: SegmentNumber) -> Result<(Arc<dyn DiskFile>, String, SegmentHeader), Fault> {
    let open = |folder: Folder| disk.open(&folder.path(number), OpenMode::ReadAgain).map(|file| (file, folder));
    let (file, folder) = open(Folder::Log).or_else(|fault| open(Folder::History).map_err(|_| fault))?;
    let header = segment::durable_header(&*file, folder, number, options)?;
    Ok((file, folder.path(number), header))
}
