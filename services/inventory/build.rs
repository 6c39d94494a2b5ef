//! Compiles the schema into messages, tables, events, refusals and dispatch.

fn main() {
    onebox_schema::build("inventory.proto");
}
