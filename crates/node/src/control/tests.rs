mod admin;
mod founding;
mod joining;
mod messages;
mod network;
mod random_founding;
mod spread;
mod toy;
