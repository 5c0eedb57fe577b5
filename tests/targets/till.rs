// Functions whose names Rust mangles: members, a trait's method, a generic one for two types.
use shop::Show;
use std::io::Read;

mod shop {
    pub struct Till {
        pub sum: i64,
    }

    impl Till {
        #[inline(never)]
        pub fn add(&mut self, n: i64) -> i64 {
            self.sum += n;
            std::hint::black_box(self.sum)
        }
    }

    pub trait Show {
        fn show(&self, n: i64) -> i64;
    }

    impl Show for Till {
        #[inline(never)]
        fn show(&self, n: i64) -> i64 {
            std::hint::black_box(self.sum + n)
        }
    }

    #[inline(never)]
    pub fn generic<T: std::fmt::Debug>(x: T, n: i64) -> i64 {
        std::hint::black_box(&x);
        n + 1
    }
}

fn main() {
    let mut line = [0u8; 1];
    println!("ready");
    std::io::stdin().read(&mut line).unwrap();
    let mut till = shop::Till { sum: 0 };
    let mut sum = 0;
    for i in 0..100 {
        sum += till.add(i) + till.show(i) + shop::generic(i as u8, i) + shop::generic("x", i);
    }
    println!("sum {}\ndone", sum);
    let _ = std::io::stdin().read(&mut line);
}
