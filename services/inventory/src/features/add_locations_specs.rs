//! What AddLocations does, example by example.

use onebox::{Spec, spec};

use crate::given::{location, moved, node, reserved, warehouse};
use crate::{AddLocationsRequest, AddLocationsResponse, EmptyField, LocationNode, NameRepeated, NameTaken, NewLocation, UnknownLocation};

pub(crate) fn all() -> Vec<Spec> {
    [forests(), ids(), equal_names(), empty_fields(), unknown_parents(), taken_names(), repeated_names()].concat()
}

fn add(parent: u64, locations: Vec<NewLocation>) -> AddLocationsRequest {
    AddLocationsRequest { parent, locations }
}

fn new(name: &str, children: Vec<NewLocation>) -> NewLocation {
    NewLocation { name: name.to_owned(), children }
}

/// A new location with nothing in it.
fn leaf(name: &str) -> NewLocation {
    new(name, vec![])
}

fn added(locations: Vec<LocationNode>) -> AddLocationsResponse {
    AddLocationsResponse { locations }
}

fn empty(field: &str) -> EmptyField {
    EmptyField { field: field.to_owned() }
}

fn repeated(field: &str, name: &str) -> NameRepeated {
    NameRepeated { field: field.to_owned(), name: name.to_owned() }
}

fn forests() -> Vec<Spec> {
    vec![
        spec("the root is there from the beginning, so a first location can be added under it")
            .when(add(0, vec![leaf("Hall")]))
            .returns(added(vec![node(1, "Hall", 0, vec![])]))
            .records([location(1, "Hall", 0)]),
        spec("a location can be added inside one that lies deep in the tree")
            .given(warehouse())
            .when(add(2, vec![leaf("Box")]))
            .returns(added(vec![node(6, "Box", 2, vec![])]))
            .records([location(6, "Box", 2)]),
        spec("a forest is added with parents before their children and siblings in the order given")
            .about(concat!(
                "Whoever reads the events one by one never meets a location whose parent is not there yet.\n",
                "\n",
                "```\n",
                "1 Hall\n",
                "├── 2 B\n",
                "│   ├── 3 x\n",
                "│   └── 4 y\n",
                "└── 5 A\n",
                "    └── 6 x\n",
                "```\n",
            ))
            .given([location(1, "Hall", 0)])
            .when(add(1, vec![new("B", vec![leaf("x"), leaf("y")]), new("A", vec![leaf("x")])]))
            .returns(added(vec![
                node(2, "B", 1, vec![node(3, "x", 2, vec![]), node(4, "y", 2, vec![])]),
                node(5, "A", 1, vec![node(6, "x", 5, vec![])]),
            ]))
            .records([location(2, "B", 1), location(3, "x", 2), location(4, "y", 2), location(5, "A", 1), location(6, "x", 5)]),
        spec("one request can build a branch from a hall down to a box")
            .when(add(0, vec![new("Hall", vec![new("Row", vec![new("Shelf", vec![leaf("Box")])])])]))
            .returns(added(vec![node(1, "Hall", 0, vec![node(2, "Row", 1, vec![node(3, "Shelf", 2, vec![node(4, "Box", 3, vec![])])])])]))
            .records([location(1, "Hall", 0), location(2, "Row", 1), location(3, "Shelf", 2), location(4, "Box", 3)]),
    ]
}

fn ids() -> Vec<Spec> {
    vec![
        spec("a location's id follows those of products and reservations too")
            .about("One counter per tenant numbers everything, so an id never means two things.")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 1)])])
            .when(add(0, vec![leaf("Dock")]))
            .returns(added(vec![node(7, "Dock", 0, vec![])]))
            .records([location(7, "Dock", 0)]),
        spec("new ids go on from wherever the tenant's counter stands")
            .given([location(1, "Hall", 0)])
            .next_id(100)
            .when(add(1, vec![leaf("Shelf"), leaf("Rack")]))
            .returns(added(vec![node(100, "Shelf", 1, vec![]), node(101, "Rack", 1, vec![])]))
            .records([location(100, "Shelf", 1), location(101, "Rack", 1)]),
        spec("every tenant counts its ids from one")
            .tenant("acme")
            .when(add(0, vec![leaf("Hall"), leaf("Yard")]))
            .returns(added(vec![node(1, "Hall", 0, vec![]), node(2, "Yard", 0, vec![])]))
            .records([location(1, "Hall", 0), location(2, "Yard", 0)]),
    ]
}

fn equal_names() -> Vec<Spec> {
    vec![
        spec("a location may have the name of its parent")
            .given([location(1, "Hall", 0)])
            .when(add(1, vec![new("Hall", vec![leaf("Hall")])]))
            .returns(added(vec![node(2, "Hall", 1, vec![node(3, "Hall", 2, vec![])])]))
            .records([location(2, "Hall", 1), location(3, "Hall", 2)]),
        spec("a name that a neighbour's child has is free")
            .given([location(1, "North", 0), location(2, "South", 0), location(3, "Shelf", 1)])
            .when(add(2, vec![leaf("Shelf")]))
            .returns(added(vec![node(4, "Shelf", 2, vec![])]))
            .records([location(4, "Shelf", 2)]),
        spec("two branches of one request may use the same names inside")
            .when(add(0, vec![new("North", vec![leaf("Shelf")]), new("South", vec![leaf("Shelf")])]))
            .returns(added(vec![
                node(1, "North", 0, vec![node(2, "Shelf", 1, vec![])]),
                node(3, "South", 0, vec![node(4, "Shelf", 3, vec![])]),
            ]))
            .records([location(1, "North", 0), location(2, "Shelf", 1), location(3, "South", 0), location(4, "Shelf", 3)]),
        spec("names that differ only in case are different names")
            .given([location(1, "Hall", 0)])
            .when(add(0, vec![leaf("hall")]))
            .returns(added(vec![node(2, "hall", 0, vec![])]))
            .records([location(2, "hall", 0)]),
        spec("a name is free again where its location has moved away")
            .given([location(1, "Hall", 0), location(2, "Shelf", 1), location(3, "Yard", 0), moved(2, 1, 3)])
            .when(add(1, vec![leaf("Shelf")]))
            .returns(added(vec![node(4, "Shelf", 1, vec![])]))
            .records([location(4, "Shelf", 1)]),
    ]
}

fn empty_fields() -> Vec<Spec> {
    vec![
        spec("a request that adds no location is refused, whatever its parent").when(add(9, vec![])).refused(empty("locations")),
        spec("a location needs a name").when(add(0, vec![leaf("")])).refused(empty("locations[0].name")),
        spec("a name missing deep in a forest is found by its path")
            .when(add(0, vec![leaf("A"), new("B", vec![leaf("x"), new("y", vec![leaf("")])])]))
            .refused(empty("locations[1].children[1].children[0].name")),
        spec("the first missing name decides, and children are read before the next sibling")
            .when(add(0, vec![new("A", vec![leaf("")]), leaf("")]))
            .refused(empty("locations[0].children[0].name")),
        spec("a missing name is refused before the parent is looked up")
            .when(add(9, vec![leaf("A"), new("B", vec![leaf("")])]))
            .refused(empty("locations[1].children[0].name")),
        spec("a missing name is refused before a taken one, though it comes later")
            .given([location(1, "Hall", 0)])
            .when(add(0, vec![leaf("Hall"), leaf("")]))
            .refused(empty("locations[1].name")),
    ]
}

fn unknown_parents() -> Vec<Spec> {
    vec![
        spec("nothing is added under a location that does not exist")
            .given(warehouse())
            .when(add(9, vec![leaf("A")]))
            .refused(UnknownLocation { location: 9 }),
        spec("a product is no place to add a location to")
            .given(warehouse())
            .when(add(4, vec![leaf("A")]))
            .refused(UnknownLocation { location: 4 }),
        spec("an unknown parent is refused before a name that the request repeats")
            .when(add(9, vec![leaf("A"), leaf("A")]))
            .refused(UnknownLocation { location: 9 }),
    ]
}

fn taken_names() -> Vec<Spec> {
    vec![
        spec("a name is unique among the children of one parent")
            .given([location(1, "Hall", 0)])
            .when(add(0, vec![leaf("Hall")]))
            .refused(NameTaken { name: "Hall".into(), parent: 0 }),
        spec("a name is taken as soon as the request that adds it is carried out")
            .given_requests([add(0, vec![new("Hall", vec![leaf("Shelf")])])])
            .when(add(1, vec![leaf("Shelf")]))
            .refused(NameTaken { name: "Shelf".into(), parent: 1 }),
        spec("a name that moved in is taken")
            .given([location(1, "Hall", 0), location(2, "Shelf", 1), location(3, "Yard", 0), moved(2, 1, 3)])
            .when(add(3, vec![leaf("Shelf")]))
            .refused(NameTaken { name: "Shelf".into(), parent: 3 }),
        spec("a forest with one taken name is refused as a whole")
            .given(warehouse())
            .when(add(1, vec![leaf("Rack"), new("Shelf", vec![leaf("Box")])]))
            .refused(NameTaken { name: "Shelf".into(), parent: 1 }),
        spec("a taken name is refused where it stands before one that a later location repeats")
            .given([location(1, "Hall", 0)])
            .when(add(0, vec![leaf("A"), leaf("Hall"), leaf("A")]))
            .refused(NameTaken { name: "Hall".into(), parent: 0 }),
    ]
}

fn repeated_names() -> Vec<Spec> {
    vec![
        spec("siblings that one request adds have different names")
            .when(add(0, vec![leaf("A"), leaf("B"), leaf("A")]))
            .refused(repeated("locations[2].name", "A")),
        spec("siblings further down in a request have different names too")
            .given([location(1, "Hall", 0)])
            .when(add(1, vec![new("A", vec![leaf("x"), leaf("y"), leaf("x")])]))
            .refused(repeated("locations[0].children[2].name", "x")),
        spec("however deep two siblings are, they do not share a name")
            .when(add(0, vec![leaf("A"), new("B", vec![new("C", vec![leaf("x"), leaf("x")])])]))
            .refused(repeated("locations[1].children[0].children[1].name", "x")),
        spec("a repeated name is refused where it stands before a taken one that comes later")
            .given([location(1, "Hall", 0)])
            .when(add(0, vec![leaf("A"), leaf("A"), leaf("Hall")]))
            .refused(repeated("locations[1].name", "A")),
        spec("a repetition inside a location is refused before the taken name of the next one")
            .given([location(1, "Hall", 0)])
            .when(add(0, vec![new("A", vec![leaf("x"), leaf("x")]), leaf("Hall")]))
            .refused(repeated("locations[0].children[1].name", "x")),
    ]
}
