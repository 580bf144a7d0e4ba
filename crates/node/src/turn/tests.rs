mod expiry;
mod forwarding;
mod gathering;
mod leadership;
mod replicas;
mod sole;
mod storms;
mod world;
