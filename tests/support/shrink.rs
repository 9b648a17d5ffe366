//! Makes a failing case small: leaves out whatever it fails without.

/// The shortest part of `items` that is found to fail still.
///
/// `fails` is asked about ever smaller parts, in their order; `items` as a
/// whole is known to fail.
pub async fn shrink<T: Clone>(items: Vec<T>, mut fails: impl AsyncFnMut(&[T]) -> bool) -> Vec<T> {
    let mut left = items;
    let mut size = left.len().div_ceil(2);
    while size > 0 {
        let mut begin = 0;
        let mut is_smaller = false;
        while begin < left.len() {
            let end = (begin + size).min(left.len());
            let without: Vec<T> = left.iter().take(begin).chain(left.iter().skip(end)).cloned().collect();
            if fails(&without).await {
                left = without;
                is_smaller = true;
            } else {
                begin = end;
            }
        }
        size = if is_smaller && size == 1 { 1 } else { size / 2 };
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_matters_is_left() {
        let mut asked = 0;
        let left = shrink((0..1000).collect(), async |items: &[i32]| {
            asked += 1;
            [17, 500, 501].iter().all(|needed| items.contains(needed))
        })
        .await;

        assert_eq!(left, [17, 500, 501]);
        assert!(asked < 120, "{asked} questions");
    }

    #[tokio::test]
    async fn nothing_is_left_where_nothing_matters() {
        assert_eq!(shrink(vec![1, 2, 3], async |_: &[i32]| true).await, [0; 0]);
    }
}
