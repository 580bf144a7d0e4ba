//! What all nodes of a cluster agree on beside the data: who belongs to it, and where the replicas of
//! its shards are. Pure: values, changes to them, and what the balancer would do next.
