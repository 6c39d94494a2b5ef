//! The two standard gRPC services beside the schema's own: health, which follows the node's, and reflection.
//!
//! Health is asked of the node on every check; nothing here remembers it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use tokio::time::Interval;
use tonic::Status;
use tonic::codegen::Service;
use tonic::codegen::tokio_stream::Stream;
use tonic::server::NamedService;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::server::Builder;
use tower::util::MapResponse;

use crate::gateway::Gateway;
use crate::limits::HEALTH_WATCH_INTERVAL;

/// Adds health and both versions of reflection.
///
/// # Panics
/// If the schema's descriptors do not decode: a bug in the build.
pub(crate) fn mount(router: Router, gateway: &Arc<Gateway>) -> Router {
    let described = || {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(gateway.schema.descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        match &gateway.specs {
            Some(specs) => builder.register_encoded_file_descriptor_set(specs.descriptors()),
            None => builder,
        }
    };
    let v1 = described().build_v1().expect("the schema's descriptors decode");
    let v1alpha = described().build_v1alpha().expect("the schema's descriptors decode");
    let health = HealthServer::new(NodeHealth { gateway: gateway.clone() });
    add(add(add(router, gateway, health), gateway, v1), gateway, v1alpha)
}

/// Mounts a generated gRPC service, its answers stamped like all others.
fn add<S>(router: Router, gateway: &Arc<Gateway>, service: S) -> Router
where
    S: Service<Request<Body>, Response = Response<tonic::body::Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let gateway = gateway.clone();
    let stamped = MapResponse::new(service, move |mut response: Response<tonic::body::Body>| {
        gateway.stamp(response.headers_mut());
        response
    });
    router.route_service(&format!("/{}/{{*method}}", S::NAME), stamped)
}

/// The standard health service over the node's own word. It knows the empty name, for the whole node, and the schema's.
struct NodeHealth {
    gateway: Arc<Gateway>,
}

impl NodeHealth {
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || service == self.gateway.schema.service
    }
}

#[tonic::async_trait]
impl HealthService for NodeHealth {
    async fn check(&self, request: tonic::Request<HealthCheckRequest>) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !self.knows(service) {
            return Err(Status::not_found(format!("this node runs {} only", self.gateway.schema.service)));
        }
        Ok(tonic::Response::new(HealthCheckResponse { status: status(&self.gateway) as i32 }))
    }

    type WatchStream = Watch;

    async fn watch(&self, request: tonic::Request<HealthCheckRequest>) -> Result<tonic::Response<Watch>, Status> {
        let known = self.knows(&request.get_ref().service);
        let looks = tokio::time::interval(HEALTH_WATCH_INTERVAL);
        Ok(tonic::Response::new(Watch { gateway: self.gateway.clone(), known, looks, told: None }))
    }
}

fn status(gateway: &Gateway) -> ServingStatus {
    if gateway.backend.health().ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// The status now, and again whenever it has changed.
struct Watch {
    gateway: Arc<Gateway>,
    known: bool,
    looks: Interval,
    told: Option<ServingStatus>,
}

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let watch = self.get_mut();
        loop {
            if watch.looks.poll_tick(context).is_pending() {
                return Poll::Pending;
            }
            let now = if watch.known { status(&watch.gateway) } else { ServingStatus::ServiceUnknown };
            if watch.told != Some(now) {
                watch.told = Some(now);
                return Poll::Ready(Some(Ok(HealthCheckResponse { status: now as i32 })));
            }
        }
    }
}
