//! The scrub of a log: reads segments again, from the disk, and compares them with what the next one, or the writer, says is there.
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
    /// The segments that are to be read, ascending.
    segments: VecDeque<SegmentNumber>,
    /// The end of what was durable when it began.
    end: Place,
}

impl LogScrub {
    pub(super) fn new(options: LogOptions, segments: VecDeque<SegmentNumber>, end: Place) -> LogScrub {
        LogScrub { options, segments, end }
    }

    /// Reads one segment more, and tells whether there are others.
    ///
    /// # Errors
    /// Damage, with file and offset; or the fault met while reading.
    pub fn step(&mut self, disk: &dyn Disk) -> Result<bool, Fault> {
        let Some(number) = self.segments.pop_front() else { return Ok(false) };
        let (file, path, header) = self.open(disk, number)?;
        let mut replay = Replay::at(&header);
        if number < self.end.segment {
            let mut window = Window::new(Arc::clone(&file), self.options.node, number, file.len()?);
            let (_, _, next) = self.open(disk, number.next())?;
            replay.sealed(&mut window, &path, &header, &next, &mut |_| {})?;
        } else {
            let mut window = Window::new(file, self.options.node, number, self.end.offset);
            let whole = replay.open_segment(&mut window, &path, &header, &mut |_| {})?;
            if whole < self.end.offset {
                return Err(damage(&path, whole, &format!("frame {} does not read back as written", replay.sequence.0)));
            }
        }
        Ok(!self.segments.is_empty())
    }

    /// Reads all segments that are left.
    ///
    /// # Errors
    /// The first fault.
    pub fn finish(mut self, disk: &dyn Disk) -> Result<(), Fault> {
        while self.step(disk)? {}
        Ok(())
    }

    /// Opens a segment where it is, or where it was moved to a moment ago.
    fn open(&self, disk: &dyn Disk, number: SegmentNumber) -> Result<(Arc<dyn DiskFile>, String, SegmentHeader), Fault> {
        let open = |folder: Folder| disk.open(&folder.path(number), OpenMode::ReadAgain).map(|file| (file, folder));
        let (file, folder) = open(Folder::Log).or_else(|fault| open(Folder::History).map_err(|_| fault))?;
        let header = segment::durable_header(&*file, folder, number, &self.options)?;
        Ok((file, folder.path(number), header))
    }
}
