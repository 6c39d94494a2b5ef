//! What AddProducts does, example by example.

use onebox::{Spec, spec};

use crate::given::{location, product, reserved, warehouse};
use crate::{AddProductsRequest, AddProductsResponse, EmptyField, SkuRepeated, SkuTaken};

pub(crate) fn all() -> Vec<Spec> {
    [products(), ids(), empty_skus(), taken_skus()].concat()
}

fn add(skus: &[&str]) -> AddProductsRequest {
    AddProductsRequest { skus: skus.iter().map(|sku| (*sku).to_owned()).collect() }
}

fn added(products: &[u64]) -> AddProductsResponse {
    AddProductsResponse { products: products.to_vec() }
}

fn empty(field: &str) -> EmptyField {
    EmptyField { field: field.to_owned() }
}

fn taken(sku: &str) -> SkuTaken {
    SkuTaken { sku: sku.to_owned() }
}

fn repeated(field: &str, sku: &str) -> SkuRepeated {
    SkuRepeated { field: field.to_owned(), sku: sku.to_owned() }
}

fn products() -> Vec<Spec> {
    vec![
        spec("a product is added by its sku").when(add(&["GPU"])).returns(added(&[1])).records([product(1, "GPU")]),
        spec("products get ids in the order of their skus in the request")
            .given([location(1, "Hall", 0)])
            .when(add(&["GPU", "CPU"]))
            .returns(added(&[2, 3]))
            .records([product(2, "GPU"), product(3, "CPU")]),
        spec("skus that differ only in case are different products")
            .given([product(1, "GPU")])
            .when(add(&["gpu", "Gpu"]))
            .returns(added(&[2, 3]))
            .records([product(2, "gpu"), product(3, "Gpu")]),
        spec("a sku may be the name of a location")
            .given([location(1, "Hall", 0)])
            .when(add(&["Hall"]))
            .returns(added(&[2]))
            .records([product(2, "Hall")]),
    ]
}

fn ids() -> Vec<Spec> {
    vec![
        spec("locations, products and reservations are numbered by one counter")
            .given(warehouse())
            .given([reserved(6, "R", 1, &[(4, 1)])])
            .when(add(&["RAM"]))
            .returns(added(&[7]))
            .records([product(7, "RAM")]),
        spec("products that were added by requests are counted on from there")
            .given_requests([add(&["GPU", "CPU"]), add(&["RAM"])])
            .when(add(&["SSD"]))
            .returns(added(&[4]))
            .records([product(4, "SSD")]),
        spec("ids below the tenant's counter are not given again, whether or not anything has them")
            .given([product(1, "GPU")])
            .next_id(8)
            .when(add(&["CPU", "RAM"]))
            .returns(added(&[8, 9]))
            .records([product(8, "CPU"), product(9, "RAM")]),
    ]
}

fn empty_skus() -> Vec<Spec> {
    vec![
        spec("a request that adds no product is refused").when(add(&[])).refused(empty("skus")),
        spec("a product needs a sku").when(add(&[""])).refused(empty("skus[0]")),
        spec("the first missing sku decides").when(add(&["GPU", "", ""])).refused(empty("skus[1]")),
        spec("a missing sku is refused before a taken one, though it comes later")
            .given([product(1, "GPU")])
            .when(add(&["GPU", ""]))
            .refused(empty("skus[1]")),
        spec("a missing sku is refused before one that the request repeats, though it comes later")
            .when(add(&["GPU", "GPU", ""]))
            .refused(empty("skus[2]")),
    ]
}

fn taken_skus() -> Vec<Spec> {
    vec![
        spec("a sku is unique in the tenant").tenant("acme").given([product(1, "GPU")]).when(add(&["GPU"])).refused(taken("GPU")),
        spec("products of which one has a taken sku are refused together")
            .given([product(1, "GPU")])
            .when(add(&["CPU", "GPU"]))
            .refused(taken("GPU")),
        spec("a request names a sku once").when(add(&["GPU", "CPU", "GPU"])).refused(repeated("skus[2]", "GPU")),
        spec("a repeated sku is refused where it stands before a taken one that comes later")
            .given([product(1, "GPU")])
            .when(add(&["CPU", "CPU", "GPU"]))
            .refused(repeated("skus[1]", "CPU")),
        spec("a taken sku is refused where it stands before one that is repeated later")
            .given([product(1, "GPU")])
            .when(add(&["CPU", "GPU", "CPU"]))
            .refused(taken("GPU")),
        spec("a sku that is both taken and repeated is refused as taken")
            .given([product(1, "GPU")])
            .when(add(&["GPU", "GPU"]))
            .refused(taken("GPU")),
    ]
}
