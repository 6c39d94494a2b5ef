//! AddLocations: a forest of locations under one parent. Owns [`LocationAdded`].
//!
//! Keeps true: a name is unique among the children of one parent.

use std::collections::BTreeSet;

use onebox::{Apply, Feature, Outcome, Rows, Spec, Tx, refuse};

use crate::{
    AddLocations, AddLocationsRequest, AddLocationsResponse, EmptyField, Location, LocationAdded, LocationNode, NameRepeated, NameTaken,
    NewLocation, Tables, UnknownLocation, tree,
};

impl Feature for AddLocations {
    fn run(tx: &mut Tx<'_>, ask: AddLocationsRequest) -> Outcome<AddLocationsResponse> {
        if ask.locations.is_empty() {
            return refuse(EmptyField { field: "locations".into() });
        }
        require_names(&ask.locations, &mut Trail::default())?;
        if !tree::exists(tx, ask.parent) {
            return refuse(UnknownLocation { location: ask.parent });
        }
        require_free_names(tx, &ask)?;
        Ok(AddLocationsResponse { locations: add(tx, ask.parent, ask.locations) })
    }

    fn specs() -> Vec<Spec> {
        super::add_locations_specs::all()
    }
}

impl Apply for LocationAdded {
    fn apply(self, rows: &mut Rows<'_>) {
        rows.put(&Location { id: self.location, name: self.name, parent: self.parent });
    }
}

fn require_names(siblings: &[NewLocation], trail: &mut Trail) -> Outcome<()> {
    for (position, location) in siblings.iter().enumerate() {
        trail.0.push(position);
        if location.name.is_empty() {
            return refuse(EmptyField { field: trail.name_field() });
        }
        require_names(&location.children, trail)?;
        trail.0.pop();
    }
    Ok(())
}

/// Names are compared with stored children at the top of the forest only: below it every parent is new.
fn require_free_names(tx: &Tx<'_>, ask: &AddLocationsRequest) -> Outcome<()> {
    let mut seen = BTreeSet::new();
    for (position, location) in ask.locations.iter().enumerate() {
        if tx.locations().by_parent_name(ask.parent, &location.name).is_some() {
            return refuse(NameTaken { name: location.name.clone(), parent: ask.parent });
        }
        require_unrepeated(location, &mut seen, &mut Trail(vec![position]))?;
    }
    Ok(())
}

fn require_unrepeated<'a>(location: &'a NewLocation, siblings: &mut BTreeSet<&'a str>, trail: &mut Trail) -> Outcome<()> {
    if !siblings.insert(&location.name) {
        return refuse(NameRepeated { field: trail.name_field(), name: location.name.clone() });
    }
    let mut seen = BTreeSet::new();
    for (position, child) in location.children.iter().enumerate() {
        trail.0.push(position);
        require_unrepeated(child, &mut seen, trail)?;
        trail.0.pop();
    }
    Ok(())
}

/// Records a parent before its children, siblings in the order given. As deep as a request can be nested.
fn add(tx: &mut Tx<'_>, parent: u64, siblings: Vec<NewLocation>) -> Vec<LocationNode> {
    let add_one = |location: NewLocation| {
        let NewLocation { name, children } = location;
        let id = tx.new_id();
        tx.record(LocationAdded { location: id, name: name.clone(), parent });
        LocationNode { id, name, parent, children: add(tx, id, children) }
    };
    siblings.into_iter().map(add_one).collect()
}

/// Where in the request a location stands: its position among its siblings, level by level.
#[derive(Default)]
struct Trail(Vec<usize>);

impl Trail {
    /// For example `locations[0].children[2].name`.
    fn name_field(&self) -> String {
        let steps: Vec<String> = self.0.iter().map(|position| format!("[{position}]")).collect();
        format!("locations{}.name", steps.join(".children"))
    }
}
