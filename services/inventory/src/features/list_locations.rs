//! ListLocations: a subtree of the locations, children in ascending id.

use onebox::{Outcome, Query, Reader, Spec, refuse};

use crate::{
    ListLocations, ListLocationsRequest, ListLocationsResponse, ListingTooDeep, Location, LocationNode, Tables, UnknownLocation, tree,
};

/// Levels of nodes in one answer. JSON readers commonly stop at 128 nested values and protobuf readers at 100 nested
/// messages; a level is two values and one message, inside the answer's own. The tree itself may be deeper.
const LEVELS_MAX: u32 = 60;

impl Query for ListLocations {
    fn run(reader: &Reader<'_>, ask: ListLocationsRequest) -> Outcome<ListLocationsResponse> {
        let listing = Listing { reader, asked: ask.location };
        if ask.location == tree::ROOT {
            return Ok(ListLocationsResponse { locations: listing.children(tree::ROOT, LEVELS_MAX)? });
        }
        match reader.locations().get(ask.location) {
            Some(location) => Ok(ListLocationsResponse { locations: vec![listing.node(location, LEVELS_MAX - 1)?] }),
            None => refuse(UnknownLocation { location: ask.location }),
        }
    }

    fn specs() -> Vec<Spec> {
        super::list_locations_specs::all()
    }
}

/// One answer in the making.
struct Listing<'r, 'a> {
    reader: &'r Reader<'a>,
    asked: u64,
}

impl Listing<'_, '_> {
    /// A location and up to `levels` levels below it.
    fn node(&self, location: Location, levels: u32) -> Outcome<LocationNode> {
        let children = self.children(location.id, levels)?;
        Ok(LocationNode { id: location.id, name: location.name, parent: location.parent, children })
    }

    fn children(&self, parent: u64, levels: u32) -> Outcome<Vec<LocationNode>> {
        let each = |child: Location| match levels.checked_sub(1) {
            Some(levels) => self.node(child, levels),
            None => refuse(ListingTooDeep { location: self.asked, levels_max: LEVELS_MAX }),
        };
        self.reader.locations().by_parent(parent).map(each).collect()
    }
}
