//! What ListLocations answers, example by example.

use onebox::{Fact, Spec, spec};

use crate::given::{location, moved, node, warehouse};
use crate::{ListLocationsRequest, ListLocationsResponse, ListingTooDeep, LocationNode, UnknownLocation};

pub(crate) fn all() -> Vec<Spec> {
    [subtrees(), order(), after_moves(), unknown_locations(), deep_trees()].concat()
}

fn list(location: u64) -> ListLocationsRequest {
    ListLocationsRequest { location }
}

fn listed(locations: Vec<LocationNode>) -> ListLocationsResponse {
    ListLocationsResponse { locations }
}

/// Locations 1 to `count`, each inside the one before.
fn chain(count: u64) -> Vec<Fact> {
    (1..=count).map(|id| location(id, &format!("N{id}"), id - 1)).collect()
}

/// Some of a [`chain`], from one location down to another, as an answer shows it.
fn chain_of_nodes(first: u64, last: u64) -> Vec<LocationNode> {
    (first..=last).rev().fold(vec![], |children, id| vec![node(id, &format!("N{id}"), id - 1, children)])
}

fn subtrees() -> Vec<Spec> {
    vec![
        spec("a tenant without locations lists none under its root").when(list(0)).returns(listed(vec![])),
        spec("a location is listed with all that lies in it").given(warehouse()).when(list(1)).returns(listed(vec![node(
            1,
            "Hall",
            0,
            vec![node(2, "Shelf", 1, vec![])],
        )])),
        spec("a location with nothing in it is listed alone").given(warehouse()).when(list(2)).returns(listed(vec![node(
            2,
            "Shelf",
            1,
            vec![],
        )])),
        spec("the root is no node; it lists the subtree of every top-level location")
            .given(warehouse())
            .when(list(0))
            .returns(listed(vec![node(1, "Hall", 0, vec![node(2, "Shelf", 1, vec![])]), node(3, "Yard", 0, vec![])])),
        spec("a listing leaves out what lies beside the location")
            .tenant("acme")
            .given([location(1, "Hall", 0), location(2, "North", 1), location(3, "South", 1), location(4, "Shelf", 2)])
            .when(list(2))
            .returns(listed(vec![node(2, "North", 1, vec![node(4, "Shelf", 2, vec![])])])),
    ]
}

fn order() -> Vec<Spec> {
    vec![
        spec("children are listed by id and not by name")
            .given([location(1, "Z", 0), location(2, "b", 1), location(3, "a", 1), location(4, "Y", 0)])
            .when(list(1))
            .returns(listed(vec![node(1, "Z", 0, vec![node(2, "b", 1, vec![]), node(3, "a", 1, vec![])])])),
        spec("top-level locations are listed by id and not by name")
            .given([location(1, "Z", 0), location(2, "b", 1), location(3, "a", 1), location(4, "Y", 0)])
            .when(list(0))
            .returns(listed(vec![node(1, "Z", 0, vec![node(2, "b", 1, vec![]), node(3, "a", 1, vec![])]), node(4, "Y", 0, vec![])])),
        spec("ids are listed in the order of numbers and not of digits")
            .given([location(1, "Hall", 0), location(9, "Nine", 1), location(10, "Ten", 1), location(300, "Three hundred", 1)])
            .when(list(1))
            .returns(listed(vec![node(
                1,
                "Hall",
                0,
                vec![node(9, "Nine", 1, vec![]), node(10, "Ten", 1, vec![]), node(300, "Three hundred", 1, vec![])],
            )])),
    ]
}

fn after_moves() -> Vec<Spec> {
    vec![
        spec("a location that moved in stands among the children by its id")
            .given([location(1, "Hall", 0), location(2, "Yard", 0), location(3, "Shelf", 2), location(4, "Box", 1), moved(3, 2, 1)])
            .when(list(1))
            .returns(listed(vec![node(1, "Hall", 0, vec![node(3, "Shelf", 1, vec![]), node(4, "Box", 1, vec![])])])),
        spec("a location that moved away is listed at its new place, with all in it")
            .given([location(1, "Hall", 0), location(2, "Shelf", 1), location(3, "Box", 2), location(4, "Yard", 0), moved(2, 1, 4)])
            .when(list(0))
            .returns(listed(vec![
                node(1, "Hall", 0, vec![]),
                node(4, "Yard", 0, vec![node(2, "Shelf", 4, vec![node(3, "Box", 2, vec![])])]),
            ])),
    ]
}

fn unknown_locations() -> Vec<Spec> {
    vec![
        spec("a location that does not exist has no listing").given(warehouse()).when(list(9)).refused(UnknownLocation { location: 9 }),
        spec("a product is not listed as a location").given(warehouse()).when(list(4)).refused(UnknownLocation { location: 4 }),
    ]
}

fn deep_trees() -> Vec<Spec> {
    vec![
        spec("a listing shows sixty levels, the location itself included")
            .given(chain(61))
            .when(list(2))
            .returns(listed(chain_of_nodes(2, 61))),
        spec("a listing of sixty-one levels is refused; the tree is listed in parts")
            .about("Readers of nested messages stop somewhere near a hundred. The tree itself may be deeper than a listing.")
            .given(chain(61))
            .when(list(1))
            .refused(ListingTooDeep { location: 1, levels_max: 60 }),
        spec("the root shows sixty levels below it, for it is no node itself")
            .given(chain(60))
            .when(list(0))
            .returns(listed(chain_of_nodes(1, 60))),
        spec("the root is not listed when its tree has a sixty-first level")
            .given(chain(61))
            .when(list(0))
            .refused(ListingTooDeep { location: 0, levels_max: 60 }),
        spec("a tree that was too deep is listed once its deepest location has moved up")
            .given(chain(61))
            .given([moved(61, 60, 0)])
            .when(list(0))
            .returns(listed([chain_of_nodes(1, 60), vec![node(61, "N61", 0, vec![])]].concat())),
    ]
}
