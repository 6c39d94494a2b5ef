//! What MoveLocation does, example by example.

use onebox::{Fact, Spec, spec};

use crate::given::{cancelled, location, moved, product, reserved, stock, warehouse};
use crate::{MoveIntoItself, MoveLocationRequest, MoveLocationResponse, NameTaken, NotEnoughAvailable, RootCannotMove, UnknownLocation};

pub(crate) fn all() -> Vec<Spec> {
    [moves(), moves_to_where_it_is(), unknown_locations(), broken_trees(), taken_names(), allowed_by_availability(), left_short()].concat()
}

fn go(location: u64, new_parent: u64) -> MoveLocationRequest {
    MoveLocationRequest { location, new_parent }
}

/// Hall 1 with Shelf 2 in it, with Box 3 in that; Yard 4; and product 5, the GPU.
fn two_places() -> [Fact; 5] {
    [location(1, "Hall", 0), location(2, "Shelf", 1), location(3, "Box", 2), location(4, "Yard", 0), product(5, "GPU")]
}

fn short(location: u64, available: i64, wanted: u64) -> NotEnoughAvailable {
    NotEnoughAvailable { location, product: 5, available, wanted }
}

fn moves() -> Vec<Spec> {
    vec![
        spec("a location moves with all that lies in it")
            .about(concat!(
                "One event is recorded, however much lies in the location: what is in it stays in it.\n",
                "\n",
                "```\n",
                "before              after\n",
                "1 Hall              1 Hall\n",
                "└── 2 Shelf         4 Yard\n",
                "    └── 3 Box       └── 2 Shelf\n",
                "4 Yard                  └── 3 Box\n",
                "```\n",
            ))
            .given(two_places())
            .when(go(2, 4))
            .returns(MoveLocationResponse {})
            .records([moved(2, 1, 4)]),
        spec("a location can move to the top of the tree")
            .given(two_places())
            .when(go(3, 0))
            .returns(MoveLocationResponse {})
            .records([moved(3, 2, 0)]),
        spec("a location can move up to its parent's parent")
            .given(two_places())
            .when(go(3, 1))
            .returns(MoveLocationResponse {})
            .records([moved(3, 2, 1)]),
        spec("a top-level location can move deep into its neighbour")
            .given(two_places())
            .when(go(4, 3))
            .returns(MoveLocationResponse {})
            .records([moved(4, 0, 3)]),
        spec("a location can move back to where it came from")
            .given(two_places())
            .given([moved(2, 1, 4)])
            .when(go(2, 1))
            .returns(MoveLocationResponse {})
            .records([moved(2, 4, 1)]),
        spec("a location can move into its former child once that has left it")
            .given(two_places())
            .given([moved(2, 1, 0)])
            .when(go(1, 2))
            .returns(MoveLocationResponse {})
            .records([moved(1, 0, 2)]),
        spec("a location can move to where a namesake was before")
            .given([location(1, "Hall", 0), location(2, "Shelf", 1), location(3, "Yard", 0), location(4, "Shelf", 3), moved(2, 1, 0)])
            .when(go(4, 1))
            .returns(MoveLocationResponse {})
            .records([moved(4, 3, 1)]),
    ]
}

fn moves_to_where_it_is() -> Vec<Spec> {
    vec![
        spec("a move to where the location already is succeeds and records nothing")
            .given(two_places())
            .when(go(2, 1))
            .returns(MoveLocationResponse {}),
        spec("a top-level location that is moved to the root stays where it is")
            .given(two_places())
            .when(go(4, 0))
            .returns(MoveLocationResponse {}),
        spec("a move that is asked for twice happens once")
            .given(two_places())
            .given_requests([go(2, 4)])
            .when(go(2, 4))
            .returns(MoveLocationResponse {}),
    ]
}

fn unknown_locations() -> Vec<Spec> {
    vec![
        spec("a location that does not exist cannot move, and is looked up before its new parent")
            .given(two_places())
            .when(go(9, 8))
            .refused(UnknownLocation { location: 9 }),
        spec("a location cannot move to one that does not exist")
            .given(two_places())
            .when(go(1, 8))
            .refused(UnknownLocation { location: 8 }),
        spec("a product cannot be moved as a location").given(two_places()).when(go(5, 1)).refused(UnknownLocation { location: 5 }),
        spec("an unknown new parent is refused before it is said that the root cannot move")
            .given(two_places())
            .when(go(0, 8))
            .refused(UnknownLocation { location: 8 }),
    ]
}

fn broken_trees() -> Vec<Spec> {
    vec![
        spec("the root cannot be moved").given(two_places()).when(go(0, 1)).refused(RootCannotMove {}),
        spec("the root cannot be moved even to itself").when(go(0, 0)).refused(RootCannotMove {}),
        spec("a location cannot move into itself")
            .given(two_places())
            .when(go(1, 1))
            .refused(MoveIntoItself { location: 1, new_parent: 1 }),
        spec("a location cannot move into its own subtree")
            .about(concat!(
                "Moved into the box, the hall and all in it would hang in the air: no way up would end at the root.\n",
                "\n",
                "```\n",
                "0 the root\n",
                "├── 1 Hall  ───────┐\n",
                "│   └── 2 Shelf    │\n",
                "│       └── 3 Box ◄┘\n",
                "└── 4 Yard\n",
                "```\n",
            ))
            .given(two_places())
            .when(go(1, 3))
            .refused(MoveIntoItself { location: 1, new_parent: 3 }),
    ]
}

fn taken_names() -> Vec<Spec> {
    vec![
        spec("a location cannot move to where its name is taken")
            .given([location(1, "A", 0), location(2, "B", 0), location(3, "A", 2)])
            .when(go(1, 2))
            .refused(NameTaken { name: "A".into(), parent: 2 }),
        spec("a location cannot move to the top of the tree if its name is taken there")
            .given([location(1, "A", 0), location(2, "B", 0), location(3, "A", 2)])
            .when(go(3, 0))
            .refused(NameTaken { name: "A".into(), parent: 0 }),
        spec("a taken name is refused before a move into itself")
            .given([location(1, "A", 0), location(2, "A", 1)])
            .when(go(1, 1))
            .refused(NameTaken { name: "A".into(), parent: 1 }),
        spec("a taken name is refused before a reservation that needs the stock to stay")
            .given(two_places())
            .given([location(6, "Box", 4), stock(3, 5, 7, 7), reserved(7, "R", 1, &[(5, 7)])])
            .when(go(3, 4))
            .refused(NameTaken { name: "Box".into(), parent: 4 }),
    ]
}

fn allowed_by_availability() -> Vec<Spec> {
    vec![
        spec("reserved stock moves together with its reservation")
            .about("The reservation names the box, so it is as well covered in the yard as it was in the hall.")
            .given(two_places())
            .given([stock(3, 5, 7, 7), reserved(6, "R", 3, &[(5, 7)])])
            .when(go(3, 4))
            .returns(MoveLocationResponse {})
            .records([moved(3, 2, 4)]),
        spec("a reservation in a moved location goes along with the stock further down in it")
            .given(two_places())
            .given([stock(3, 5, 7, 7), reserved(6, "R", 2, &[(5, 3)])])
            .when(go(2, 4))
            .returns(MoveLocationResponse {})
            .records([moved(2, 1, 4)]),
        spec("a move may take away exactly what the places left behind can spare")
            .given(two_places())
            .given([stock(3, 5, 7, 7), stock(1, 5, 3, 3), reserved(6, "R", 1, &[(5, 3)])])
            .when(go(3, 4))
            .returns(MoveLocationResponse {})
            .records([moved(3, 2, 4)]),
        spec("a move inside a hall takes nothing away from the hall")
            .given(two_places())
            .given([stock(3, 5, 5, 5), stock(1, 5, 1, 1), reserved(6, "A", 1, &[(5, 4)]), reserved(7, "B", 3, &[(5, 2)])])
            .when(go(3, 1))
            .returns(MoveLocationResponse {})
            .records([moved(3, 2, 1)]),
        spec("a reservation in the root holds no location in its place")
            .given(two_places())
            .given([stock(3, 5, 7, 7), reserved(6, "R", 0, &[(5, 7)])])
            .when(go(3, 4))
            .returns(MoveLocationResponse {})
            .records([moved(3, 2, 4)]),
        spec("a cancelled reservation holds no location in its place")
            .given(two_places())
            .given([stock(3, 5, 7, 7), reserved(6, "R", 1, &[(5, 7)]), cancelled(6, &[(5, 1, 7)])])
            .when(go(3, 4))
            .returns(MoveLocationResponse {})
            .records([moved(3, 2, 4)]),
    ]
}

fn left_short() -> Vec<Spec> {
    let nothing_to_spare = [stock(3, 5, 5, 5), stock(1, 5, 1, 1), reserved(6, "A", 1, &[(5, 4)]), reserved(7, "B", 3, &[(5, 2)])];
    vec![
        spec("a move may not take away what is reserved in a place left behind")
            .about(concat!(
                "Of the five in the box, two are reserved there and go along. The other three would leave the hall with one,\n",
                "where four are reserved.\n",
                "\n",
                "```\n",
                "1 Hall           1 on hand, 4 reserved\n",
                "└── 2 Shelf\n",
                "    └── 3 Box    5 on hand, 2 reserved  ──► 4 Yard\n",
                "```\n",
            ))
            .given(two_places())
            .given(nothing_to_spare.clone())
            .when(go(3, 4))
            .refused(short(1, 0, 3)),
        spec("a move to the top of the tree may not leave a hall short either")
            .given(two_places())
            .given(nothing_to_spare)
            .when(go(2, 0))
            .refused(short(1, 0, 3)),
        spec("a box may not leave the shelf on which its stock is reserved")
            .given(two_places())
            .given([stock(3, 5, 7, 7), reserved(6, "R", 2, &[(5, 3)])])
            .when(go(3, 4))
            .refused(short(2, 4, 7)),
        spec("a move that leaves one piece too few behind is refused")
            .given(two_places())
            .given([stock(3, 5, 7, 7), stock(1, 5, 3, 3), reserved(6, "R", 1, &[(5, 4)])])
            .when(go(3, 4))
            .refused(short(1, 6, 7)),
        spec("of several products that a move would leave short the one with the lowest id is named")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(5, 1), (4, 2)])])
            .when(go(2, 3))
            .refused(NotEnoughAvailable { location: 1, product: 4, available: 5, wanted: 7 }),
    ]
}
