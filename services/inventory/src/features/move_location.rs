//! MoveLocation: a location and all in it go to another parent. Owns [`LocationMoved`].
//!
//! Keeps true: the tree stays a tree, names stay unique among siblings, and the ancestors that are left behind still
//! cover what is reserved in them.

use onebox::{Apply, Feature, Outcome, Rows, Spec, Tx, refuse};

use crate::{
    Balance, Location, LocationMoved, MoveIntoItself, MoveLocation, MoveLocationRequest, MoveLocationResponse, NameTaken, RootCannotMove,
    Tables, UnknownLocation, availability, balance, tree,
};

impl Feature for MoveLocation {
    fn run(tx: &mut Tx<'_>, ask: MoveLocationRequest) -> Outcome<MoveLocationResponse> {
        let MoveLocationRequest { location, new_parent } = ask;
        let moved = tx.locations().get(location);
        if moved.is_none() && location != tree::ROOT {
            return refuse(UnknownLocation { location });
        }
        let new_path = tree::path(tx, new_parent).ok_or(UnknownLocation { location: new_parent })?;
        let Some(moved) = moved else { return refuse(RootCannotMove {}) };
        if moved.parent == new_parent {
            return Ok(MoveLocationResponse {});
        }
        if tx.locations().by_parent_name(new_parent, &moved.name).is_some() {
            return refuse(NameTaken { name: moved.name, parent: new_parent });
        }
        if new_path.contains(&location) {
            return refuse(MoveIntoItself { location, new_parent });
        }
        let (left_behind, _) = tree::without_shared(tree::known_path(tx, moved.parent), new_path);
        for row in tx.balances().by_location(location) {
            availability::require(tx, &left_behind, row.product, balance::available(&row))?;
        }
        tx.record(LocationMoved { location, old_parent: moved.parent, new_parent });
        Ok(MoveLocationResponse {})
    }

    fn specs() -> Vec<Spec> {
        super::move_location_specs::all()
    }
}

impl Apply for LocationMoved {
    fn apply(self, rows: &mut Rows<'_>) {
        let (left_behind, joined) = tree::without_shared(tree::known_path(rows, self.old_parent), tree::known_path(rows, self.new_parent));
        let moved: Vec<Balance> = rows.balances().by_location(self.location).collect();
        for row in &moved {
            for &ancestor in &left_behind {
                balance::leave(rows, ancestor, row);
            }
            for &ancestor in &joined {
                balance::arrive(rows, ancestor, row);
            }
        }
        let location = rows.locations().get(self.location).expect("a moved location exists");
        rows.put(&Location { parent: self.new_parent, ..location });
    }
}
