//! Ratios.

mod bytes;
mod handlers;
mod measure;
mod scan;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--program") {
        handlers::run_program(&arguments[at + 1], arguments[at + 2].parse().unwrap());
        return;
    }
    for (name, _) in handlers::PROGRAMS {
        println!("{name:50} {:?}", handlers::count(name));
    }
}
