//! A hold from its beginning to its end.

use std::time::Duration;

use recado::db::holds::{self, Hold, Scope};

use super::house::House;

const MINUTE: Duration = Duration::from_secs(60);

async fn hold(house: &House) -> bool {
    let hold = Hold {
        scope: Scope::Sender(house.sender),
        reason: "too_many_texts".to_owned(),
        detail: None,
        lasts: Some(5 * MINUTE),
        by: "recado".to_owned(),
    };
    holds::place(&house.pools.ops, &hold).await.unwrap()
}

async fn told(house: &House) -> Vec<String> {
    let told = "select kind from outbox where kind like 'hold.%' order by id";
    sqlx::query_scalar(told).fetch_all(&house.pools.ops).await.unwrap()
}

#[tokio::test]
async fn one_whose_time_is_over_is_a_new_one_when_it_comes_again_and_everybody_is_told() {
    let house = House::start().await;
    assert!(hold(&house).await);
    house.advance(60);
    assert!(!hold(&house).await, "it lasts longer");
    house.advance(6 * 60);
    assert!(hold(&house).await, "another one");
    assert_eq!(told(&house).await, ["hold.placed", "hold.released", "hold.placed"]);
    assert_eq!(holds::in_force(&house.pools.ops).await.unwrap().len(), 1);
}

#[tokio::test]
async fn its_end_is_told_when_its_time_is_over() {
    let house = House::start().await;
    hold(&house).await;
    assert!(holds::end_over(&house.pools.ops).await.unwrap().is_empty());
    house.advance(6 * 60);
    assert_eq!(holds::end_over(&house.pools.ops).await.unwrap().len(), 1);
    assert!(holds::end_over(&house.pools.ops).await.unwrap().is_empty());
    assert_eq!(told(&house).await, ["hold.placed", "hold.released"]);
    assert_eq!(house.count("select count(*) from holds where released_at = until and released_by = 'recado'").await, 1);
}
