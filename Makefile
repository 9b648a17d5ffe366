# dns-manager; `make help` lists what there is.

CARGO ?= cargo
# Where etcd and CoreDNS are kept, which the tests run against.
DNS_MANAGER_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dns-manager/tools
export DNS_MANAGER_TOOLS

.DEFAULT_GOAL := help
.PHONY: help schemathesis demo try build test target tools lint chaos clean cuts prove install uninstall

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: target ## Show the main job on this machine; needs Rust and make only, and leaves nothing behind
	$(CARGO) build --locked --package dns-manager-orchestrator
	@"$${CARGO_TARGET_DIR:-target}/debug/dns-manager" demo

try: tools ## Show the main job on real etcd and CoreDNS, started for it on loopback
	$(CARGO) build --locked --release --package dns-manager-orchestrator
	@tests/tools/try '$(DNS_MANAGER_TOOLS)' "$${CARGO_TARGET_DIR:-target}/release/dns-manager"

build: target ## Build everything, the WebAssembly component included, optimised
	$(CARGO) build --workspace --locked --release

test: tools ## Run every test, on real etcd and CoreDNS, installing what is missing
	$(CARGO) test --workspace --locked --features dns-manager-tests/live

target:
	@tests/tools/install --target-only

QUERIES ?= 200000

prove: tools ## Ask CoreDNS QUERIES=200000 questions after random changes; SEED=N repeats a run
	DNS_MANAGER_QUERIES=$(QUERIES) $(if $(SEED),DNS_MANAGER_SEED=$(SEED)) $(CARGO) test --locked --package dns-manager-tests \
		--features live random_changes_are_answered_as_the_rfcs_ask

cuts: tools ## Cut the connection to etcd at every octet of every request and answer of a change
	DNS_MANAGER_CUT_STEP=1 $(CARGO) test --locked --package dns-manager-tests --features live wherever_a_connection_is_cut

SECONDS_OF_CHAOS ?= 600
SERVERS ?= 200

chaos: tools ## Kill three orchestrators at random under SERVERS=200 servers, for SECONDS_OF_CHAOS=600
	DNS_MANAGER_CHAOS_SECONDS=$(SECONDS_OF_CHAOS) DNS_MANAGER_CHAOS_SERVERS=$(SERVERS) $(CARGO) test --locked --package dns-manager-tests \
		--features live servers_end_as_asked -- --nocapture

schemathesis: tools ## Send what the description of the REST API allows and forbids to a running service
	$(CARGO) build --locked --package dns-manager-orchestrator
	@tests/tools/schemathesis '$(DNS_MANAGER_TOOLS)' "$${CARGO_TARGET_DIR:-target}/debug/dns-manager"

tools: ## Install what the tests need: the WebAssembly target, etcd, CoreDNS
	@tests/tools/install '$(DNS_MANAGER_TOOLS)'

lint: ## Check format, lints and documentation
	$(CARGO) fmt --all --check
	cd tests/fixtures && $(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --features dns-manager-tests/live -- -D warnings
	$(CARGO) clippy --package dns-manager-guest --lib --locked --target wasm32-wasip2 -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked

# Where `make install` puts things; the unit file names the program and the configuration there.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /etc/systemd/system
SYSUSERSDIR ?= /etc/sysusers.d
DOCDIR = $(PREFIX)/share/doc/dns-manager
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d
# What is installed: run `make build` first, as yourself.
PROGRAM ?= $(or $(CARGO_TARGET_DIR),target)/release/dns-manager

install: ## Install what `make build` built, under PREFIX=/usr/local and DESTDIR
	@test -x '$(PROGRAM)' || { echo "$(PROGRAM) is not there: run make build first" >&2; exit 1; }
	install -D -m 755 '$(PROGRAM)' '$(DESTDIR)$(PREFIX)/bin/dns-manager'
	install -D -m 644 config.example.toml '$(DESTDIR)$(DOCDIR)/config.example.toml'
	install -D -m 644 packaging/dns-manager.sysusers '$(DESTDIR)$(SYSUSERSDIR)/dns-manager.conf'
	install -d '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(SYSCONFDIR)/dns-manager'
	sed 's#=/usr/bin/#=$(PREFIX)/bin/#; s#/etc/dns-manager/#$(SYSCONFDIR)/dns-manager/#g' packaging/dns-manager.service \
	  > '$(DESTDIR)$(UNITDIR)/dns-manager.service'
	chmod 644 '$(DESTDIR)$(UNITDIR)/dns-manager.service'
	# With the service's data_dir, so that commands find what it keeps.
	test -e '$(DESTDIR)$(SYSCONFDIR)/dns-manager/config.toml' || \
	  { umask 022 && sed 's,^#data_dir = ,data_dir = ,' config.example.toml > '$(DESTDIR)$(SYSCONFDIR)/dns-manager/config.toml'; }
	@packaging/manual '$(PROGRAM)' '$(DESTDIR)$(PREFIX)/share/man/man1' \
	  '$(DESTDIR)$(BASHDIR)/dns-manager' '$(DESTDIR)$(ZSHDIR)/_dns-manager' '$(DESTDIR)$(FISHDIR)/dns-manager.fish'

uninstall: ## Remove what `make install` installed; configuration, user and inventory stay
	rm -f '$(DESTDIR)$(PREFIX)/bin/dns-manager' '$(DESTDIR)$(UNITDIR)/dns-manager.service' '$(DESTDIR)$(SYSUSERSDIR)/dns-manager.conf'
	rm -f '$(DESTDIR)$(PREFIX)/share/man/man1/dns-manager.1' '$(DESTDIR)$(PREFIX)/share/man/man1'/dns-manager-*.1
	rm -f '$(DESTDIR)$(BASHDIR)/dns-manager' '$(DESTDIR)$(ZSHDIR)/_dns-manager' '$(DESTDIR)$(FISHDIR)/dns-manager.fish'
	rm -rf '$(DESTDIR)$(DOCDIR)'

clean: ## Remove what was built here; the tools stay
	$(CARGO) clean
