"""A second implementation of UpdateStock and Reserve, to which the specs of the warehouse are put over HTTP.

It is written from the contract (inventory.proto) and shares neither code nor design with the service: it keeps what
happened in dicts, and adds up whatever a rule asks about by walking. Each run begins empty and is forgotten.

It prints `listening on 127.0.0.1:PORT` and serves until its standard input is closed. Python 3.11 and its standard
library are all it needs. With `--broken` the response of UpdateStock says one piece too many.
"""

import argparse
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PACKAGE = "inventory.v1."
ROOT = 0
UINT64 = range(2**64)
SINT64 = range(-(2**63), 2**63)
INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED = 3, 5, 6, 9, 11, 12

REFUSALS = {
    "EmptyField": (INVALID_ARGUMENT, "{field} must not be empty"),
    "QuantityBelowOne": (INVALID_ARGUMENT, "{field} is {quantity}; a quantity is at least 1"),
    "RootHoldsNoStock": (
        INVALID_ARGUMENT,
        "{field} is 0, the root, which holds no stock of its own; name a location in it",
    ),
    "UnknownLocation": (NOT_FOUND, "there is no location {location}"),
    "UnknownProduct": (NOT_FOUND, "there is no product {product}"),
    "UnknownSku": (NOT_FOUND, "there is no product with the sku {sku}"),
    "CodeTaken": (ALREADY_EXISTS, "the reservation code {code} was already given; codes are never given again"),
    "NotEnoughOnHand": (
        FAILED_PRECONDITION,
        "location {location} holds only {onHand} of product {product}, not {wanted}",
    ),
    "NotEnoughAvailable": (
        FAILED_PRECONDITION,
        "in location {location} only {available} of product {product} are available, not {wanted};"
        " the rest is reserved",
    ),
    "OutOfRange": (OUT_OF_RANGE, "{total} would leave the range of 64-bit integers"),
}

RESERVED_ITEM = {"product": UINT64, "quantity": SINT64, "location": UINT64}
FULFILLED_ITEM = {"product": UINT64, "location": UINT64, "removed": SINT64, "onHand": SINT64}
CANCELLED_ITEM = {"product": UINT64, "location": UINT64, "released": SINT64}
MESSAGES = {
    "LocationAdded": {"location": UINT64, "name": str, "parent": UINT64},
    "LocationMoved": {"location": UINT64, "oldParent": UINT64, "newParent": UINT64},
    "ProductAdded": {"product": UINT64, "sku": str},
    "StockUpdated": {"location": UINT64, "product": UINT64, "change": SINT64, "onHand": SINT64},
    "Reserved": {"reservation": UINT64, "code": str, "items": [RESERVED_ITEM]},
    "Fulfilled": {"reservation": UINT64, "items": [FULFILLED_ITEM]},
    "Cancelled": {"reservation": UINT64, "items": [CANCELLED_ITEM]},
    "UpdateStockRequest": {"location": UINT64, "product": UINT64, "change": SINT64},
    "ReserveRequest": {"code": str, "location": UINT64, "lines": [{"sku": str, "quantity": SINT64}], "tags": dict},
}


class Refusal(Exception):
    """The request is not carried out."""

    def __init__(self, kind, **fields):
        self.kind, self.fields = kind, fields
        self.code, sentence = REFUSALS[kind]
        super().__init__(sentence.format(**fields))


class Mistake(Exception):
    """What was sent makes no sense as a run."""


def require(holds, words):
    if not holds:
        raise Mistake(words)


def read(value, shape, place):
    """A value of proto3 JSON with its defaults filled in; None is a field that was left out."""
    if isinstance(shape, dict):
        fits = isinstance(value, dict) and value.keys() <= shape.keys()
        require(fits, f"{place} is not an object of {', '.join(shape)}")
        return {name: read(value.get(name), inner, f"{place}.{name}") for name, inner in shape.items()}
    if isinstance(shape, list):
        require(isinstance(value, list | None), f"{place} is not a list")
        return [read(item, shape[0], f"{place}[{position}]") for position, item in enumerate(value or [])]
    if shape in (str, dict):
        require(isinstance(value, shape | None), f"{place} is not what it should be")
        return value or shape()
    if isinstance(value, str) and re.fullmatch("-?[0-9]{1,20}", value):
        value = int(value)
    # Not isinstance: True is an int.
    require(value is None or (type(value) is int and value in shape), f"{place} is not a 64-bit integer of its kind")
    return value or 0


def type_name(value, place):
    name = value.get("@type") if isinstance(value, dict) else None
    require(isinstance(name, str), f"{place} is not an object with @type")
    name = name.rpartition("/")[2]
    require(name.startswith(PACKAGE), f"{place}: {name} is not a message of {PACKAGE[:-1]}")
    return name.removeprefix(PACKAGE)


def read_any(value, place):
    name = type_name(value, place)
    require(name in MESSAGES, f"{place}: {name} is not known here")
    return read({key: field for key, field in value.items() if key != "@type"}, MESSAGES[name], place)


def plain(value):
    """Proto3 JSON: 64-bit integers are strings, defaults are left out."""
    if isinstance(value, dict):
        return {name: plain(field) for name, field in value.items() if field not in (0, "", [])}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value)


def write_any(name, fields):
    return {"@type": f"type.googleapis.com/{PACKAGE}{name}", **plain(fields)}


class Warehouse:
    """Everything that happened in one warehouse. An event that cannot have happened is a mistake."""

    def __init__(self):
        self.parents = {}
        self.names = {}
        self.skus = {}  # by product
        self.stock = {}  # by location and product: what is on hand there alone
        self.codes = set()
        self.open = {}  # the items of each reservation that holds something
        self.last_id = 0
        self.recorded = []

    def exists(self, location):
        return location == ROOT or location in self.parents

    def path(self, location):
        """The location and all around it, the root last."""
        path = [location]
        while path[-1] != ROOT:
            path.append(self.parents[path[-1]])
        return path

    def on_hand_within(self, location, product):
        pieces = [(place, count) for (place, kind), count in self.stock.items() if kind == product]
        return sum(count for place, count in pieces if location in self.path(place))

    def reserved_within(self, location, product):
        items = [item for items in self.open.values() for item in items if item["product"] == product]
        return sum(item["quantity"] for item in items if location in self.path(item["location"]))

    def available(self, location, product):
        return self.on_hand_within(location, product) - self.reserved_within(location, product)

    def record(self, kind, fact):
        EVENTS[kind](self, fact)
        self.recorded.append((kind, fact))

    def location_added(self, fact):
        location, parent = fact["location"], fact["parent"]
        require(self.exists(parent) and not self.exists(location), f"{location} is there or its parent {parent} is not")
        self.require_free_name(parent, fact["name"])
        self.id_created(location)
        self.parents[location], self.names[location] = parent, fact["name"]

    def location_moved(self, fact):
        location, old, new = fact["location"], fact["oldParent"], fact["newParent"]
        require(self.parents.get(location) == old, f"location {location} is not in {old}")
        require(self.exists(new) and location not in self.path(new), f"location {location} cannot be moved into {new}")
        self.require_free_name(new, self.names[location])
        self.parents[location] = new
        for product in self.skus:
            self.require_rule(old, product)

    def product_added(self, fact):
        product, sku = fact["product"], fact["sku"]
        require(product not in self.skus and sku not in self.skus.values(), f"product {product} or {sku} is there")
        self.id_created(product)
        self.skus[product] = sku

    def stock_updated(self, fact):
        self.stock_changed(fact["location"], fact["product"], fact["change"])

    def reserved(self, fact):
        reservation, code = fact["reservation"], fact["code"]
        require(reservation not in self.open and code not in self.codes, f"{reservation} or its code {code} is there")
        for item in fact["items"]:
            require(self.exists(item["location"]), f"there is no location {item['location']}")
        self.id_created(reservation)
        self.codes.add(code)
        self.open[reservation] = fact["items"]
        for item in fact["items"]:
            self.require_rule(item["location"], item["product"])

    def fulfilled(self, fact):
        self.cancelled(fact)
        for item in fact["items"]:
            self.stock_changed(item["location"], item["product"], -item["removed"])

    def cancelled(self, fact):
        require(fact["reservation"] in self.open, f"reservation {fact['reservation']} is not open")
        del self.open[fact["reservation"]]

    def stock_changed(self, location, product, change):
        require(location in self.parents and product in self.skus, f"no location {location} or no product {product}")
        self.stock[location, product] = self.stock.get((location, product), 0) + change
        require(self.stock[location, product] >= 0, f"location {location} holds less than none of product {product}")
        self.require_rule(location, product)

    def id_created(self, number):
        require(number in UINT64 and number != 0, f"{number} is no id")
        self.last_id = max(self.last_id, number)

    def require_free_name(self, parent, name):
        siblings = [self.names[location] for location, around in self.parents.items() if around == parent]
        require(name not in siblings, f"location {parent} already has a child named {name}")

    def require_rule(self, location, product):
        for around in self.path(location):
            on_hand, reserved = self.on_hand_within(around, product), self.reserved_within(around, product)
            holds = 0 <= reserved <= on_hand and on_hand in SINT64
            require(holds, f"location {around}: {reserved} of product {product} are reserved, {on_hand} on hand")


EVENTS = {
    "LocationAdded": Warehouse.location_added,
    "LocationMoved": Warehouse.location_moved,
    "ProductAdded": Warehouse.product_added,
    "StockUpdated": Warehouse.stock_updated,
    "Reserved": Warehouse.reserved,
    "Fulfilled": Warehouse.fulfilled,
    "Cancelled": Warehouse.cancelled,
}


def update_stock(warehouse, ask):
    location, product, change = ask["location"], ask["product"], ask["change"]
    if location == ROOT:
        raise Refusal("RootHoldsNoStock", field="location")
    if not warehouse.exists(location):
        raise Refusal("UnknownLocation", location=location)
    if product not in warehouse.skus:
        raise Refusal("UnknownProduct", product=product)
    if warehouse.on_hand_within(ROOT, product) + change >= SINT64.stop:
        raise Refusal("OutOfRange", total=f"the stock of product {product} over all locations")
    held = warehouse.stock.get((location, product), 0)
    on_hand = held + change
    if on_hand < 0:
        raise Refusal("NotEnoughOnHand", location=location, product=product, onHand=held, wanted=-change)
    if change < 0:
        require_available(warehouse, location, product, -change)
    if change != 0:
        warehouse.record("StockUpdated", {**ask, "onHand": on_hand})
    return {"onHand": on_hand}


def reserve(warehouse, ask):
    code, location = ask["code"], ask["location"]
    require_sense(ask)
    if not warehouse.exists(location):
        raise Refusal("UnknownLocation", location=location)
    lines = [(product_of(warehouse, line["sku"]), line["quantity"]) for line in ask["lines"]]
    if code in warehouse.codes:
        raise Refusal("CodeTaken", code=code)
    quantities = added_together(lines)
    for product, quantity in quantities.items():
        require_available(warehouse, location, product, quantity)
    items = [{"product": product, "quantity": each, "location": location} for product, each in quantities.items()]
    reservation = warehouse.last_id + 1
    warehouse.record("Reserved", {"reservation": reservation, "code": code, "items": items})
    return {"reservation": reservation}


def require_sense(ask):
    for field in ("code", "lines"):
        if not ask[field]:
            raise Refusal("EmptyField", field=field)
    for position, line in enumerate(ask["lines"]):
        if not line["sku"]:
            raise Refusal("EmptyField", field=f"lines[{position}].sku")
        if line["quantity"] < 1:
            raise Refusal("QuantityBelowOne", field=f"lines[{position}].quantity", quantity=line["quantity"])


def product_of(warehouse, wanted):
    for product, sku in warehouse.skus.items():
        if sku == wanted:
            return product
    raise Refusal("UnknownSku", sku=wanted)


def added_together(lines):
    """The quantity of each product, in the order in which the products first appear."""
    quantities = {}
    for product, quantity in lines:
        quantities[product] = quantities.get(product, 0) + quantity
        if quantities[product] not in SINT64:
            raise Refusal("OutOfRange", total=f"the quantity of product {product}, all lines added together,")
    return quantities


def require_available(warehouse, location, product, wanted):
    """A refusal names the least that the location or one around it has available, and the nearest of equals."""
    least = min(warehouse.path(location), key=lambda around: warehouse.available(around, product))
    available = warehouse.available(least, product)
    if available < wanted:
        raise Refusal("NotEnoughAvailable", location=least, product=product, available=available, wanted=wanted)


METHODS = {"Reserve": reserve, "UpdateStock": update_stock}
SPECS = {"service": "inventory.v1.Inventory", "implementation": "second.py", "version": "1", "methods": list(METHODS)}


def run(ask, broken):
    require(isinstance(ask, dict), "the body is not an object")
    asked = type_name(ask.get("when"), "when")
    require(asked.endswith("Request"), f"when: {asked} is not a request")
    method = asked.removesuffix("Request")
    if method not in METHODS:
        return {"events": [], "status": {"code": UNIMPLEMENTED, "message": f"{method} is not implemented here"}}
    request = read_any(ask["when"], "when")
    warehouse = given_warehouse(ask)
    try:
        response = METHODS[method](warehouse, request)
    except Refusal as refusal:
        details = [write_any(refusal.kind, refusal.fields)]
        return {"events": [], "status": {"code": refusal.code, "message": str(refusal), "details": details}}
    if broken and method == "UpdateStock":
        response["onHand"] += 1
    events = [write_any(kind, fact) for kind, fact in warehouse.recorded]
    answer = write_any(f"{method}Response", response)
    return {"response": answer, "events": events, "status": {"code": 0, "message": ""}}


def given_warehouse(ask):
    warehouse = Warehouse()
    given = ask.get("given")
    require(isinstance(given, list | None), "given is not a list")
    for position, one in enumerate(given or []):
        let_happen(warehouse, one, f"given[{position}]")
    warehouse.recorded.clear()
    if ask.get("nextId") is not None:
        next_id = read(ask["nextId"], UINT64, "nextId")
        require(next_id != 0, "nextId is 0; ids begin at 1")
        warehouse.last_id = next_id - 1
    return warehouse


def let_happen(warehouse, given, place):
    name, fields = type_name(given, place), read_any(given, place)
    try:
        if name in EVENTS:
            warehouse.record(name, fields)
        else:
            METHODS[name.removesuffix("Request")](warehouse, fields)
    except (Refusal, Mistake) as error:
        raise Mistake(f"{place} cannot happen: {error}") from error


def read_json(body):
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Mistake(f"the body is not JSON: {error}") from error


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Buffered, so that head and body leave in one write: it is flushed after each request.
    wbufsize = 1 << 16
    broken = False

    def do_GET(self):
        if self.path == "/onebox/v1/specs":
            self.answer(200, SPECS)
        else:
            self.answer_problem(404, f"there is nothing at {self.path}")

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length):
            # Where the next request begins cannot be told.
            self.close_connection = True
            return self.answer_problem(400, "Content-Length is missing or no length")
        body = self.rfile.read(int(length))
        if self.path != "/onebox/v1/specs:run":
            return self.answer_problem(404, f"there is nothing at {self.path}")
        try:
            self.answer(200, run(read_json(body), self.broken))
        except Mistake as mistake:
            self.answer_problem(400, str(mistake))

    def answer_problem(self, status, detail):
        self.answer(status, {"status": status, "detail": detail})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--broken", action="store_true", help="UpdateStock answers one piece too many")
    Handler.broken = parser.parse_args().broken
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    # Whoever started this holds the other end: when they are gone, so is this.
    while sys.stdin.buffer.read(4096):
        pass


if __name__ == "__main__":
    main()
