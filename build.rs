//! Tells Cargo that the migrations are part of the program: `sqlx::migrate!` alone does not notice one that was added.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
