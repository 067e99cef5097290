//! Which settings a running server takes from a changed configuration.

use std::sync::{Arc, PoisonError, RwLock};

use super::{
    Config, ConfigError, Loaded, SettingInForce,
    layers::Texts,
    setting::{self, Setting},
};

/// The configuration of a running server. A reload replaces it.
#[derive(Debug)]
pub(crate) struct LiveConfig(RwLock<Arc<Config>>);

/// What a reload changes, by the settings' variables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Settings that are in force now.
    pub(crate) applied: Vec<&'static str>,
    /// Settings that a restart applies.
    pub(crate) at_restart: Vec<&'static str>,
}

impl LiveConfig {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(config))))
    }

    /// The configuration in force.
    pub(crate) fn current(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the settings from `fresh` that can change while the server runs.
    pub(crate) fn reload(&self, fresh: Config) -> Changes {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (next, changes) = current.reloaded(fresh);
        *current = Arc::new(next);
        changes
    }
}

impl Config {
    /// Reads the configuration of a running server again, from the same command line and environment.
    ///
    /// # Errors
    /// [`ConfigError`], as for [`load`](Self::load).
    pub fn load_again() -> Result<Self, ConfigError> {
        let Loaded::Run(config) = Self::load(std::env::args_os(), std::env::vars_os())? else {
            return Err(ConfigError::Usage("the command line does not start a server".to_owned()));
        };
        Ok(*config)
    }

    /// This configuration with what `fresh` may change.
    fn reloaded(&self, fresh: Self) -> (Self, Changes) {
        let mut changes = Changes::default();
        for setting in setting::ALL {
            if self.texts.get(setting.variable) == fresh.texts.get(setting.variable) {
                continue;
            }
            let list = if setting.reloads { &mut changes.applied } else { &mut changes.at_restart };
            list.push(setting.variable);
        }
        let next = Self {
            log: fresh.log,
            allowed_origins: fresh.allowed_origins,
            registration: fresh.registration,
            rooms_auto_create: fresh.rooms_auto_create,
            stun_urls: fresh.stun_urls,
            turn: fresh.turn,
            resume_window: fresh.resume_window,
            session_memory: fresh.session_memory,
            admin_names: fresh.admin_names,
            texts: self.texts_after(&fresh.texts),
            in_force: self.in_force_after(&fresh.in_force),
            ..self.clone()
        };
        (next, changes)
    }

    /// The texts of the settings that are in force after a reload.
    fn texts_after(&self, fresh: &Texts) -> Texts {
        let of = |setting: &Setting| {
            let texts = if setting.reloads { fresh } else { &self.texts };
            Some((setting.variable, texts.get(setting.variable)?.clone()))
        };
        setting::ALL.iter().filter_map(|setting| of(setting)).collect()
    }

    /// What an operator sees after a reload.
    fn in_force_after(&self, fresh: &[SettingInForce]) -> Vec<SettingInForce> {
        let of = |(old, fresh): (&SettingInForce, &SettingInForce)| {
            let reloads = setting::ALL.iter().any(|setting| setting.reloads && setting.variable == old.name);
            if reloads { fresh.clone() } else { old.clone() }
        };
        self.in_force.iter().zip(fresh).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Config {
        let arguments = ["aldis"].iter().chain(arguments).map(Into::into);
        let Loaded::Run(config) = Config::load(arguments, []).unwrap() else { panic!("a configuration") };
        *config
    }

    fn reload(live: &LiveConfig, arguments: &[&str]) -> (Vec<&'static str>, Vec<&'static str>) {
        let Changes { applied, at_restart } = live.reload(config(arguments));
        (applied, at_restart)
    }

    #[test]
    fn a_reload_applies_what_can_change_and_names_the_rest() {
        let live = LiveConfig::new(config(&["--registration", "open", "--port", "1"]));
        let fresh = ["--registration", "closed", "--port", "2", "--resume-window", "7"];
        let changed = (vec!["ALDIS_REGISTRATION", "ALDIS_RESUME_WINDOW"], vec!["PORT"]);
        assert_eq!(reload(&live, &fresh), changed);
        let current = live.current();
        assert_eq!(current.registration, super::super::Registration::Closed);
        assert_eq!((current.resume_window.as_secs(), current.listen.port()), (7, 1));
        // What needs a restart is named each time, as long as it differs.
        assert_eq!(reload(&live, &fresh), (vec![], vec!["PORT"]));
        assert_eq!(reload(&live, &["--port", "1"]).0, ["ALDIS_REGISTRATION", "ALDIS_RESUME_WINDOW"]);
        assert_eq!(live.current().resume_window.as_secs(), 30);
    }

    #[test]
    fn every_setting_that_reloads_has_an_effect() {
        let other: &[(&str, &[&str])] = &[
            ("ALDIS_ALLOWED_ORIGINS", &["--allowed-origins", "https://a.example"]),
            ("ALDIS_ADMIN_NAMES", &["--admin-names", "a.example"]),
            ("ALDIS_LOG", &["--log", "warn"]),
            ("ALDIS_REGISTRATION", &["--registration", "closed"]),
            ("ALDIS_ROOMS_AUTO_CREATE", &["--rooms-auto-create", "off"]),
            ("ALDIS_STUN_URLS", &["--stun-urls", ""]),
            ("ALDIS_TURN_URLS", &["--turn-urls", "turn:a.example", "--turn-secret", SECRET]),
            ("ALDIS_TURN_SECRET", &["--turn-urls", "turn:a.example", "--turn-secret", SECRET]),
            ("ALDIS_RESUME_WINDOW", &["--resume-window", "7"]),
            ("ALDIS_SESSION_MEMORY", &["--session-memory", "7"]),
        ];
        let reloading = setting::ALL.iter().filter(|setting| setting.reloads);
        for setting in reloading {
            let (_, arguments) = other.iter().find(|(name, _)| *name == setting.variable).unwrap();
            let live = LiveConfig::new(config(&[]));
            let before = format!("{:?}", live.current());
            assert!(reload(&live, arguments).0.contains(&setting.variable), "{}", setting.variable);
            assert_ne!(format!("{:?}", live.current()), before, "{}", setting.variable);
        }
    }

    const SECRET: &str = "a TURN secret of more than thirty-two bytes";
}
