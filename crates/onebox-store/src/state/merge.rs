//! One ordered pass over layers that hide each other, with the base below them all.

use std::iter::Peekable;
use std::ops::ControlFlow;

use onebox_service::Fault;
use onebox_service::keyspace::EachRow;

use super::base::{BaseReader, BaseRow, BaseScan};

/// A row of a layer: key, and value or `None` where it was removed.
type LayerRow<'a> = (&'a [u8], Option<&'a [u8]>);

/// Rows of one layer of a scan, ascending by key; a removal hides the key in the layers below.
pub(crate) struct Layer<'a>(Peekable<Box<dyn Iterator<Item = LayerRow<'a>> + 'a>>);

impl<'a> Layer<'a> {
    pub(crate) fn new(rows: impl Iterator<Item = LayerRow<'a>> + 'a) -> Layer<'a> {
        let rows: Box<dyn Iterator<Item = LayerRow<'a>> + 'a> = Box::new(rows);
        Layer(rows.peekable())
    }

    /// Itself, if it has a row.
    pub(crate) fn unless_empty(mut self) -> Option<Layer<'a>> {
        self.key().is_some().then_some(self)
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        self.0.peek().map(|(key, _)| *key)
    }
}

/// Calls `each` with every visible row of `from <= key < to`. `layers` go from the newest to the oldest.
pub(crate) fn scan(layers: Vec<Layer<'_>>, base: &BaseReader, from: &[u8], to: &[u8], each: &mut EachRow<'_>) -> Result<(), Fault> {
    let mut below = base.scan(from, Some(to))?;
    let mut row = below.next()?;
    let mut layers = layers;
    while let Some(key) = layers.iter_mut().filter_map(Layer::key).min() {
        if deliver_below(&mut below, &mut row, Some(key), each)?.is_break() {
            return Ok(());
        }
        if row.as_ref().is_some_and(|row| row.key() == key) {
            row = below.next()?;
        }
        let mut visible = None;
        for layer in &mut layers {
            if layer.key() == Some(key) {
                let (_, slot) = layer.0.next().expect("the layer was just seen to have a row");
                visible.get_or_insert(slot);
            }
        }
        if let Some(Some(value)) = visible
            && each(key, value).is_break()
        {
            return Ok(());
        }
    }
    deliver_below(&mut below, &mut row, None, each).map(|_| ())
}

/// Delivers the base's rows before `end`, leaving in `row` the first that is not.
fn deliver_below(
    below: &mut BaseScan,
    row: &mut Option<BaseRow>,
    end: Option<&[u8]>,
    each: &mut EachRow<'_>,
) -> Result<ControlFlow<()>, Fault> {
    while let Some(found) = row.as_ref().filter(|row| end.is_none_or(|end| row.key() < end)) {
        if each(found.key(), found.value()).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        *row = below.next()?;
    }
    Ok(ControlFlow::Continue(()))
}
