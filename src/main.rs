//! The binary: hands over to the command line.

#[global_allocator]
static HEAP: secretfs::sys::allocator::Wiping = secretfs::sys::allocator::Wiping;

fn main() -> std::process::ExitCode {
    secretfs::cli::main()
}
