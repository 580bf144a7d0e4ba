mod expiry;
mod forwarding;
mod leadership;
mod replicas;
mod sole;
mod storms;
mod world;
