// Where `install` puts what it installs, in the system of a till; `uninstall` and `check` look there. Constants only.

import { DEFAULT_CONFIG_PATH, UNIT_PATH } from "../config/places.ts";
import { INSTALLED_TOKEN_PATH } from "../config/token.ts";
import { SERVICE } from "./service.ts";

export const PROGRAM = "/usr/local/bin/recorder-agent";
export const CONFIG_DIR = "/etc/recorder-agent";
export const CONFIG = DEFAULT_CONFIG_PATH;
export const TOKEN = INSTALLED_TOKEN_PATH;
export const UNIT = UNIT_PATH;
export const DROP_IN = "/etc/systemd/system/recorder-agent.service.d/spool.conf";
/** What `systemctl enable` makes of WantedBy=multi-user.target in the unit. */
export const WANTS = `/etc/systemd/system/multi-user.target.wants/${SERVICE}`;
export const USERS = "/etc/sysusers.d/recorder-agent.conf";
export const USER = "recorder-agent";
