//! Features, queries and events over the generated tables.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use expect_test::expect;
use onebox::{Apply, Feature, MethodId, Outcome, Query, Read, Reader, Refusal, Rows, Service, Spec, Tx, refuse};
use onebox_service::execute::{Recorded, execute, query};
use onebox_service::keyspace::EachRow;
use onebox_service::{Budget, Bytes, Context, Failure, Fault, Keyspace, KeyspaceMut, TenantId, Time};
use prost::Message;

use crate::*;

impl Feature for Register {
    fn run(tx: &mut Tx<'_>, ask: RegisterRequest) -> Outcome<RegisterResponse> {
        if ask.colour == 0 {
            return refuse(NoColour {});
        }
        if ask.parts.len() > 3 {
            return refuse(TooMany { free: 3, r#type: ask.r#type, last: true });
        }
        let batch = tx.new_id();
        let things: Vec<u64> = ask.parts.iter().map(|_| tx.new_id()).collect();
        let names = ask.parts.iter().map(|part| part.name.clone()).collect();
        tx.record(ThingsRegistered { batch, things: things.clone(), shelf: ask.shelf, names, colour: ask.colour });
        let counts = ask.parts.iter().map(|part| (part.name.clone(), part.count.unsigned_abs())).collect();
        Ok(RegisterResponse { things, counts })
    }

    fn specs() -> Vec<Spec> {
        Vec::new()
    }
}

impl Query for Find {
    fn run(reader: &Reader<'_>, ask: FindRequest) -> Outcome<FindResponse> {
        let names = reader.things().by_colour(ask.colour).map(|thing| thing.name).collect();
        Ok(FindResponse { names })
    }

    fn specs() -> Vec<Spec> {
        Vec::new()
    }
}

impl Feature for Login {
    fn run(tx: &mut Tx<'_>, ask: LoginRequest) -> Outcome<LoginResponse> {
        tx.record(LoggedIn { user: ask.user });
        Ok(LoginResponse { answer: Some(login_response::Answer::WaitSeconds(3)), device: None })
    }

    fn specs() -> Vec<Spec> {
        Vec::new()
    }
}

impl Apply for ThingsRegistered {
    fn apply(self, rows: &mut Rows<'_>) {
        for (id, name) in self.things.into_iter().zip(self.names) {
            let raw = name.clone().into_bytes();
            rows.put(&Thing { id, shelf: self.shelf, big: name.len() > 4, name, colour: self.colour, raw });
        }
    }
}

impl Apply for LoggedIn {
    fn apply(self, rows: &mut Rows<'_>) {
        for offset in [2, -1, 10] {
            rows.put(&Visit { user: self.user.clone(), r#type: -5, offset, notes: BTreeMap::new() });
        }
        rows.delete::<Visit>(&(self.user.as_str(), -5_i64, 10_i32));
    }
}

#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, Bytes>);

impl Keyspace for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) -> Result<(), Fault> {
        for (key, value) in self.0.range(from.to_vec()..to.to_vec()) {
            if let ControlFlow::Break(()) = each(key, value) {
                break;
            }
        }
        Ok(())
    }
}

impl KeyspaceMut for Memory {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.0.insert(key.to_vec(), Arc::from(value));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.0.remove(key);
        Ok(())
    }
}

fn context() -> Context {
    let budget = Budget {
        rows_read_max: 1000,
        rows_written_max: 1000,
        scan_steps_max: 1000,
        bytes_max: 100_000,
        events_max: 100,
        key_bytes_max: 1000,
    };
    Context { tenant: TenantId::DEFAULT, now: Time(0), seed: 0, budget }
}

fn part(name: &str) -> register_request::Part {
    register_request::Part { name: name.to_owned(), count: -7, inner: BTreeMap::new() }
}

fn register(space: &mut Memory, names: &[&str]) -> Result<RegisterResponse, Failure> {
    let parts = names.iter().map(|name| part(name)).collect();
    let request = RegisterRequest { shelf: 4, parts, r#type: "a \"b\"".to_owned(), colour: Colour::Red.into(), raw: Vec::new() };
    let method = SCHEMA.method("Register").unwrap();
    let response = execute(&Everything, method, &request.encode_to_vec(), space, &context(), &mut Recorded::default())?;
    Ok(RegisterResponse::decode(&response[..]).unwrap())
}

/// Reads a space as a query does, from a function that knows only `Read`.
fn reading<T>(space: &Memory, read: impl Fn(&dyn Read) -> T) -> T {
    struct Direct<'m>(&'m Memory);
    impl Read for Direct<'_> {
        fn tenant(&self) -> TenantId {
            TenantId::DEFAULT
        }
        fn now(&self) -> Time {
            Time(0)
        }
        fn version(&self) -> u32 {
            onebox_service::version::FIRST_VERSION
        }
        fn get(&self, table: u32, index: u32, fields: &dyn Fn(&mut Vec<u8>)) -> Option<Bytes> {
            let mut key = Vec::new();
            onebox_service::keyspace::pack_head(self.tenant(), table, index, &mut key);
            fields(&mut key);
            self.0.get(&key).unwrap()
        }
        fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) {
            self.0.scan(from, to, each).unwrap();
        }
    }
    read(&Direct(space))
}

#[test]
fn ids_tables_and_indexes() {
    let mut space = Memory::default();
    assert_eq!(register(&mut space, &["pot", "kettle"]).unwrap().things, [2, 3]);
    assert_eq!(register(&mut space, &["pan"]).unwrap().things, [5]);
    let red = Colour::Red as i32;
    reading(&space, |read| {
        let names = |things: onebox::Scan<'_, Thing>| things.map(|thing| thing.name).collect::<Vec<_>>();
        assert_eq!(read.things().get(3).unwrap().name, "kettle");
        assert!(read.things().get(1).is_none());
        assert_eq!(read.things().at(4, "pan", red).unwrap().id, 5);
        assert!(read.things().at(4, "pan", 0).is_none());
        assert_eq!(names(read.things().by_shelf(4)), ["kettle", "pan", "pot"]);
        assert_eq!(names(read.things().by_shelf_name(4, "pot")), ["pot"]);
        assert_eq!(names(read.things().by_colour_big(red, true)), ["kettle"]);
        assert_eq!(names(read.things().by_colour(red)), ["pot", "pan", "kettle"]);
        assert_eq!(names(read.things().by_raw(b"pan")), ["pan"]);
        assert_eq!(names(read.things().all()), ["pot", "kettle", "pan"]);
    });
}

#[test]
fn composite_keys_sort_as_their_values() {
    let mut space = Memory::default();
    let request = LoginRequest { user: "ann".to_owned(), ..LoginRequest::default() };
    let method = SCHEMA.method("Login").unwrap();
    execute(&Everything, method, &request.encode_to_vec(), &mut space, &context(), &mut Recorded::default()).unwrap();
    reading(&space, |read| {
        let offsets = |visits: onebox::Scan<'_, Visit>| visits.map(|visit| visit.offset).collect::<Vec<_>>();
        assert_eq!(offsets(read.visits().by_user("ann")), [-1, 2]);
        assert_eq!(offsets(read.visits().by_user_type("ann", -5)), [-1, 2]);
        assert!(offsets(read.visits().by_user("an")).is_empty());
        assert!(read.visits().get(("ann", -5, 2)).is_some());
        assert!(read.visits().get(("ann", -5, 10)).is_none());
    });
}

#[test]
fn a_refusal_has_its_sentence_code_and_fields() {
    let refused = |names: &[&str]| match register(&mut Memory::default(), names) {
        Err(Failure::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    };
    let refusal = refused(&["a", "b", "c", "d"]);
    expect![[r#"ResourceExhausted everything.v1.TooMany: {only} 3 of "a "b"", final: true"#]]
        .assert_eq(&format!("{:?} {}: {}", refusal.code, refusal.kind, refusal.message));
    let json = Everything.refusal_to_json(refusal.kind, &refusal.detail).unwrap();
    expect![[r#"{"free":"3","type":"a \"b\"","last":true}"#]].assert_eq(std::str::from_utf8(&json).unwrap());
    assert!(Everything.refusal_to_json("everything.v1.Unknown", &refusal.detail).is_none());
    let refusal: Refusal = NoColour {}.into();
    assert_eq!(refusal.message, "a thing has a colour");
}

#[test]
fn a_query_reads() {
    let mut space = Memory::default();
    register(&mut space, &["pot"]).unwrap();
    let request = FindRequest { colour: 1, ..FindRequest::default() };
    let response = query(&Everything, SCHEMA.method("Find").unwrap(), &request.encode_to_vec(), &space, &context()).unwrap();
    assert_eq!(FindResponse::decode(&response[..]).unwrap().names, ["pot"]);
}

#[test]
fn the_wrong_way_to_run_a_method_is_a_bug_in_words() {
    let find = SCHEMA.method("Find").unwrap();
    let failure = execute(&Everything, find, &[], &mut Memory::default(), &context(), &mut Recorded::default());
    assert_eq!(failure, Err(Failure::Bug("Find is read-only: it is queried, not executed".to_owned())));
    let failure = query(&Everything, SCHEMA.method("Login").unwrap(), &[], &Memory::default(), &context());
    assert_eq!(failure, Err(Failure::Bug("Login is not read-only: it is executed, not queried".to_owned())));
    let failure = query(&Everything, MethodId(9), &[], &Memory::default(), &context());
    assert_eq!(failure, Err(Failure::Bug("everything.v1.Everything has 3 methods; there is none with number 9".to_owned())));
}

#[test]
fn what_is_logged_has_no_secrets() {
    let device = |name: &str| Device { name: name.to_owned(), token: b"secret".to_vec(), parent: None };
    let nested = Device { parent: Some(Box::new(device("outer"))), ..device("inner") };
    let request = LoginRequest {
        user: "ann".to_owned(),
        password: "secret".to_owned(),
        device: Some(nested.clone()),
        devices: vec![device("one"), nested],
        named: BTreeMap::from([("two".to_owned(), device("two"))]),
    };
    let bytes = request.encode_to_vec();
    let logged = Everything.loggable_request(SCHEMA.method("Login").unwrap(), &bytes);
    assert!(bytes.windows(6).any(|window| window == b"secret"));
    assert!(!logged.windows(6).any(|window| window == b"secret"));
    let logged = LoginRequest::decode(&logged[..]).unwrap();
    assert_eq!((logged.user.as_str(), logged.devices.len(), logged.named["two"].name.as_str()), ("ann", 2, "two"));
    let response = LoginResponse { device: Some(device("phone")), ..LoginResponse::default() }.encode_to_vec();
    let logged = Everything.loggable_response(SCHEMA.method("Login").unwrap(), &response);
    let kept = LoginResponse::decode(&logged[..]).unwrap().device.unwrap();
    assert_eq!((kept.name.as_str(), kept.token.len()), ("phone", 0));
    let plain = Everything.loggable_request(SCHEMA.method("Find").unwrap(), b"anything");
    assert!(matches!(plain, std::borrow::Cow::Borrowed(b"anything")));
}

#[test]
fn messages_with_maps_can_be_printed() {
    let part = register_request::Part {
        inner: BTreeMap::from([("a".to_owned(), register_request::part::Inner { numbers: vec![1] })]),
        ..part("p")
    };
    expect![[r#"Part { name: "p", count: -7, inner: {"a": Inner { numbers: [1] }} }"#]].assert_eq(&format!("{part:?}"));
}

#[test]
fn the_description_of_the_schema() {
    expect![[r#"
        (
            [
                MethodInfo {
                    name: "Register",
                    read_only: false,
                    routes: [
                        Route {
                            verb: Post,
                            path: "/v1/shelves/{shelf}:register",
                            body: true,
                        },
                        Route {
                            verb: Put,
                            path: "/v1/shelves/{shelf}",
                            body: true,
                        },
                    ],
                    request: "everything.v1.RegisterRequest",
                    response: "everything.v1.RegisterResponse",
                },
                MethodInfo {
                    name: "Find",
                    read_only: true,
                    routes: [
                        Route {
                            verb: Get,
                            path: "/v1/things/{colour}",
                            body: false,
                        },
                    ],
                    request: "everything.v1.FindRequest",
                    response: "everything.v1.FindResponse",
                },
                MethodInfo {
                    name: "Login",
                    read_only: false,
                    routes: [],
                    request: "everything.v1.LoginRequest",
                    response: "everything.v1.LoginResponse",
                },
            ],
            [
                EventInfo {
                    id: EventId(
                        1,
                    ),
                    name: "LoggedIn",
                },
                EventInfo {
                    id: EventId(
                        2,
                    ),
                    name: "ThingsRegistered",
                },
            ],
            [
                RefusalInfo {
                    name: "everything.v1.TooMany",
                    code: ResourceExhausted,
                    message: "{{only}} {free} of \"{type}\", final: {last}",
                },
                RefusalInfo {
                    name: "everything.v1.NoColour",
                    code: InvalidArgument,
                    message: "a thing has a colour",
                },
            ],
            [
                TableInfo {
                    id: 1,
                    name: "things",
                    row: "everything.v1.Thing",
                    key: [
                        FieldInfo {
                            name: "id",
                        },
                    ],
                    indexes: [
                        IndexInfo {
                            name: "at",
                            fields: [
                                FieldInfo {
                                    name: "shelf",
                                },
                                FieldInfo {
                                    name: "name",
                                },
                                FieldInfo {
                                    name: "colour",
                                },
                            ],
                            unique: true,
                        },
                        IndexInfo {
                            name: "by_colour_big",
                            fields: [
                                FieldInfo {
                                    name: "colour",
                                },
                                FieldInfo {
                                    name: "big",
                                },
                            ],
                            unique: false,
                        },
                        IndexInfo {
                            name: "by_raw",
                            fields: [
                                FieldInfo {
                                    name: "raw",
                                },
                            ],
                            unique: false,
                        },
                    ],
                },
                TableInfo {
                    id: 2,
                    name: "visits",
                    row: "everything.v1.Visit",
                    key: [
                        FieldInfo {
                            name: "user",
                        },
                        FieldInfo {
                            name: "type",
                        },
                        FieldInfo {
                            name: "offset",
                        },
                    ],
                    indexes: [],
                },
            ],
        )"#]]
    .assert_eq(&format!("{:#?}", (SCHEMA.methods, SCHEMA.events, SCHEMA.refusals, SCHEMA.tables)));
    assert_eq!((SCHEMA.name, SCHEMA.service), ("everything", "everything.v1.Everything"));
    let pool = prost_reflect::DescriptorPool::decode(SCHEMA.descriptors).unwrap();
    let message = pool.get_message_by_name("everything.v1.LoggedIn").unwrap();
    let event = pool.get_extension_by_name("onebox.event").unwrap();
    assert!(message.options().has_extension(&event), "custom options are in the descriptors");
}
