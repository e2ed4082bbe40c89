/**
 * The table of configuration keys: everything that is known about a key is its entry here. From it
 * follow the type `Config`, what is read and refused, the questions of `install`, and, by `deno task
 * generate`, the examples and the tables of the reference. It decides nothing. Pure.
 */

import {
  AUDIO_CHANNEL,
  AUDIO_DEVICE,
  file,
  folder,
  integer,
  numberFrom,
  oneOf,
  positive,
  SAMPLE_RATE,
  TIME,
  TOKEN,
  TOKEN_FILE,
  UUID,
  YES_OR_NO,
} from "./config_values.ts";
import { BASE_URL, HEADERS, OTLP_URL, PING_URL } from "./address_values.ts";
import type { KeyTable } from "./key.ts";
import { SCHEDULE } from "./schedule_text.ts";
import { refuseDamagedCertificates, refusePrivateKey } from "./pem.ts";

/** Limits of the sound, which bound the size of a chunk. */
export const MAX_CHUNK_SECONDS = 3600;
export const MAX_BITRATE_KBPS = 256;

export const KEYS = {
  point_id: {
    group: "identity",
    applies: "at_seam",
    kind: UUID,
    meaning: { en: "UUID of the point of sale", ru: "UUID точки продаж" },
    placeholder: "00000000-0000-0000-0000-000000000001",
    install: "asks",
  },
  register_id: {
    group: "identity",
    applies: "at_seam",
    kind: UUID,
    meaning: { en: "UUID of the till", ru: "UUID кассы" },
    placeholder: "00000000-0000-0000-0000-000000000002",
    install: "suggests_uuid",
  },
  device_id: {
    group: "identity",
    applies: "at_seam",
    kind: UUID,
    meaning: { en: "UUID of this device", ru: "UUID этого устройства" },
    placeholder: "00000000-0000-0000-0000-000000000003",
    install: "suggests_uuid",
  },
  ingest_base_url: {
    group: "identity",
    applies: "at_once",
    kind: BASE_URL,
    meaning: {
      en: "base URL of the Ingest API; `/api/v1/chunks` is added to it",
      ru: "базовый URL Ingest API; к нему добавляется `/api/v1/chunks`",
    },
    placeholder: "https://ingest.example.com",
    install: "asks_with_example",
  },
  allow_insecure_http: {
    group: "identity",
    applies: "at_once",
    kind: YES_OR_NO,
    default: "false",
    since: "0.3.0",
    meaning: {
      en: "whether chunks, metrics and heartbeats may be sent to an `http://` URL beyond this " +
        "machine, unencrypted; without it chunks wait, and the others are not sent",
      ru: "можно ли отправлять чанки, метрики и сигналы монитору на URL `http://` за пределами " +
        "этой машины, без шифрования; иначе чанки ждут, а остальное не отправляется",
    },
  },
  ingest_token: {
    group: "identity",
    applies: "at_once",
    kind: TOKEN,
    absent: {
      en: "required (or `ingest_token_file`)",
      ru: "обязательно (или `ingest_token_file`)",
    },
    meaning: {
      en:
        "[Bearer token](#the-token) of the Ingest API; set this key or `ingest_token_file`, not both",
      ru: "[токен Bearer](#токен) для Ingest API; задаётся либо он, либо `ingest_token_file`",
    },
    placeholder: "replace-this-token",
    install: "asks_secretly",
  },
  ingest_token_file: {
    group: "identity",
    applies: "at_once",
    kind: TOKEN_FILE,
    absent: { en: "`ingest_token` is used", ru: "используется `ingest_token`" },
    meaning: {
      en: "file that holds the token alone; it is read again before every attempt",
      ru: "файл, в котором записан только токен; читается перед каждой попыткой",
    },
  },

  schedule_start: {
    group: "schedule",
    applies: "at_once",
    kind: TIME,
    default: "08:00",
    meaning: { en: "local time when recording starts", ru: "местное время начала записи" },
  },
  schedule_end: {
    group: "schedule",
    applies: "at_once",
    kind: TIME,
    default: "22:00",
    meaning: {
      en:
        "local time when recording ends; a start after the end crosses midnight; equal means all day",
      ru:
        "местное время конца записи; начало позже конца — через полночь; начало равно концу — круглые сутки",
    },
  },
  schedule: {
    group: "schedule",
    applies: "at_once",
    kind: SCHEDULE,
    absent: {
      en: "`schedule_start` to `schedule_end`",
      ru: "с `schedule_start` до `schedule_end`",
    },
    since: "0.3.0",
    meaning: {
      en: "[hours by weekday and date](#hours-by-weekday); replaces the two keys above",
      ru: "[часы по дням недели и датам](#часы-по-дням-недели); заменяет два ключа выше",
    },
  },

  chunk_seconds: {
    group: "sound",
    applies: "at_once",
    kind: integer(1, MAX_CHUNK_SECONDS, "seconds"),
    default: "60",
    meaning: {
      en:
        "length of a chunk; the first one after a start of the microphone is shorter, by a part " +
        "that depends on `device_id`, so that tills do not send in step",
      ru:
        "длина чанка; первый чанк после включения микрофона короче на часть, которая зависит от " +
        "`device_id`, чтобы кассы не отправляли одновременно",
    },
  },
  opus_bitrate_kbps: {
    group: "sound",
    applies: "reopens",
    kind: integer(6, MAX_BITRATE_KBPS, "kbit/s"),
    default: "24",
    meaning: {
      en: "Opus bitrate; 24 is good for speech",
      ru: "битрейт Opus; 24 хорошо подходит для речи",
    },
  },
  audio_device: {
    group: "sound",
    applies: "reopens",
    kind: AUDIO_DEVICE,
    absent: { en: "auto-detect", ru: "автоматический выбор" },
    meaning: {
      en: "[microphone](#the-microphone) to record",
      ru: "[микрофон](#микрофон) для записи",
    },
  },
  audio_channel: {
    group: "sound",
    applies: "reopens",
    kind: AUDIO_CHANNEL,
    default: "auto",
    since: "0.3.0",
    meaning: {
      en: "[channel](#the-channel) to record; `auto` takes the one that hears sound, `mix` the " +
        "average of all",
      ru: "[канал](#канал) для записи; `auto` — тот, на котором есть звук, `mix` — среднее всех",
    },
  },
  capture_volume: {
    group: "sound",
    applies: "reopens",
    kind: integer(0, 100, "%"),
    absent: { en: "left as it is", ru: "не меняется" },
    since: "0.3.0",
    meaning: {
      en: "[level of the microphone](#the-level) to set when it is opened, of the range of its " +
        "control",
      ru: "[уровень микрофона](#уровень), который устанавливается при открытии, от диапазона его " +
        "регулятора",
    },
  },
  capture_agc: {
    group: "sound",
    applies: "reopens",
    kind: oneOf("on", "off"),
    absent: { en: "left as it is", ru: "не меняется" },
    since: "0.3.0",
    meaning: {
      en: "[automatic gain control](#the-level) of the microphone, if it has one",
      ru: "[автоматическая регулировка усиления](#уровень) микрофона, если она есть",
    },
  },
  gain_db: {
    group: "sound",
    applies: "reopens",
    kind: numberFrom(-20, 40, "dB"),
    default: "0",
    since: "0.3.0",
    meaning: {
      en:
        "how much louder the sound is recorded than it comes; turn the microphone itself up first",
      ru: "на сколько запись громче исходного звука; сначала увеличьте уровень самого микрофона",
    },
  },
  highpass_hz: {
    group: "sound",
    applies: "reopens",
    kind: numberFrom(0, 1000, "Hz"),
    default: "0",
    since: "0.3.0",
    meaning: {
      en:
        "sound below this frequency is weakened, for instance 80 against hum and rumble; 0 is off",
      ru: "звук ниже этой частоты ослабляется, например 80 против гула; 0 — выключено",
    },
  },
  sample_rate: {
    group: "sound",
    applies: "reopens",
    kind: SAMPLE_RATE,
    default: "48000",
    meaning: { en: "capture rate", ru: "частота записи" },
  },

  spool_dir: {
    group: "storage",
    applies: "restart",
    kind: folder({ en: "a directory", ru: "каталога" }),
    default: "/var/lib/recorder-agent/spool",
    meaning: { en: "root of the [storage](storage.md)", ru: "каталог [хранения](storage.md)" },
  },
  max_spool_days: {
    group: "storage",
    applies: "at_once",
    kind: positive("days"),
    default: "7",
    meaning: { en: "age at which a chunk is deleted", ru: "срок, после которого чанк удаляется" },
  },
  max_spool_gb: {
    group: "storage",
    applies: "at_once",
    kind: positive("GB"),
    default: "20",
    meaning: {
      en: "largest size of the storage; the oldest chunks are deleted, delivered ones first",
      ru: "наибольший объём хранения; удаляются самые старые чанки, сначала отправленные",
    },
  },
  keep_delivered_days: {
    group: "storage",
    applies: "at_once",
    kind: numberFrom(0, null, "days"),
    sameAs: "max_spool_days",
    since: "0.3.0",
    meaning: {
      en: "age at which a delivered chunk is deleted; 0 deletes it at the moment of delivery",
      ru: "срок, после которого удаляется отправленный чанк; 0 — удаляется сразу после отправки",
    },
  },
  max_waiting_days: {
    group: "storage",
    applies: "at_once",
    kind: positive("days"),
    sameAs: "max_spool_days",
    meaning: {
      en: "age at which a chunk that is not delivered is deleted, refused ones included",
      ru: "срок, после которого удаляется не отправленный чанк, в том числе отвергнутый",
    },
  },
  min_free_gb: {
    group: "storage",
    applies: "at_once",
    kind: numberFrom(0, null, "GB"),
    default: "1",
    meaning: {
      en: "space on the disk to keep free",
      ru: "сколько места на диске оставлять свободным",
    },
  },
  sync_interval_s: {
    group: "storage",
    applies: "at_once",
    kind: numberFrom(1, 60, "seconds"),
    default: "5",
    meaning: {
      en:
        "longest time between two syncs of the growing chunk; a power cut may cost this much sound",
      ru:
        "наибольший промежуток между синхронизациями растущего чанка с диском; столько звука может потеряться при отключении питания",
    },
  },

  retry_min_s: {
    group: "delivery",
    applies: "at_once",
    kind: positive("seconds", 86_400),
    default: "2",
    meaning: {
      en: "smallest delay before a failed upload is repeated",
      ru: "наименьшая пауза перед повтором отправки",
    },
  },
  retry_max_s: {
    group: "delivery",
    applies: "at_once",
    kind: positive("seconds", 86_400),
    default: "300",
    atLeast: "retry_min_s",
    meaning: {
      en: "largest delay before a failed upload is repeated",
      ru: "наибольшая пауза перед повтором отправки",
    },
  },
  upload_timeout_s: {
    group: "delivery",
    applies: "at_once",
    kind: positive("seconds", 86_400),
    default: "30",
    meaning: {
      en:
        "how long nothing may move in an attempt; a whole attempt may take this and the duration of " +
        "the chunk",
      ru: "сколько времени в попытке может ничего не передаваться; вся попытка может занять это " +
        "время и длительность чанка",
    },
  },
  upload_concurrency: {
    group: "delivery",
    applies: "at_once",
    kind: integer(1, 16),
    default: "6",
    meaning: {
      en: "requests in flight while a backlog is delivered; 1 sends one chunk after the other",
      ru: "сколько запросов выполнять одновременно, пока отправляется очередь; 1 — по одному",
    },
  },
  upload_max_kbps: {
    group: "delivery",
    applies: "at_once",
    kind: positive("kbit/s"),
    absent: { en: "no cap", ru: "без ограничения" },
    since: "0.3.0",
    meaning: {
      en: "cap of what all requests send together; at least 1.1 times `opus_bitrate_kbps`",
      ru: "предел скорости отправки всех запросов вместе; не меньше 1,1 × `opus_bitrate_kbps`",
    },
  },
  max_clock_wait_s: {
    group: "delivery",
    applies: "at_once",
    kind: numberFrom(0, 86_400, "seconds"),
    default: "600",
    meaning: {
      en: "how long chunks wait for clock synchronization; then they are sent as not synchronized",
      ru:
        "сколько времени чанки ждут синхронизации часов; затем отправляются с пометкой «не синхронизировано»",
    },
  },
  tls_ca_file: {
    group: "delivery",
    applies: "at_once",
    kind: file(
      { en: "a readable file with a PEM certificate", ru: "читаемого файла с сертификатом PEM" },
      refuseDamagedCertificates,
    ),
    absent: { en: "the public CAs alone", ru: "только публичные УЦ" },
    meaning: {
      en:
        "PEM file with a CA certificate to trust in addition to the public ones; read again for each " +
        "connection",
      ru:
        "файл PEM с сертификатом удостоверяющего центра (УЦ), в дополнение к публичным; читается " +
        "для каждого соединения",
    },
  },
  tls_ca_only: {
    group: "delivery",
    applies: "restart",
    kind: YES_OR_NO,
    default: "false",
    since: "0.3.0",
    meaning: {
      en: "whether only the CA in `tls_ca_file` is trusted",
      ru: "доверять ли только УЦ из `tls_ca_file`",
    },
  },
  tls_client_cert_file: {
    group: "delivery",
    applies: "at_once",
    kind: file(
      { en: "a readable file with a PEM certificate", ru: "читаемого файла с сертификатом PEM" },
      refuseDamagedCertificates,
    ),
    absent: { en: "no client certificate", ru: "без клиентского сертификата" },
    since: "0.3.0",
    meaning: {
      en: "PEM file with the [client certificate](../how-to/private-ca-and-proxy.md#a-client-" +
        "certificate) and the certificates between it and its CA; read again for each connection",
      ru: "файл PEM с [клиентским сертификатом](../how-to/private-ca-and-proxy.md#клиентский-" +
        "сертификат) и промежуточными сертификатами; читается для каждого соединения",
    },
  },
  tls_client_key_file: {
    group: "delivery",
    applies: "at_once",
    kind: file(
      {
        en: "a readable file with an unencrypted RSA or EC key (P-256, P-384) in PEM",
        ru: "читаемого файла PEM с незашифрованным ключом RSA или EC (P-256, P-384)",
      },
      refusePrivateKey,
    ),
    absent: { en: "no client certificate", ru: "без клиентского сертификата" },
    since: "0.3.0",
    meaning: {
      en: "PEM file with the private key of `tls_client_cert_file`",
      ru: "файл PEM с закрытым ключом к `tls_client_cert_file`",
    },
  },
  timestamp_format: {
    group: "delivery",
    applies: "at_once",
    kind: oneOf("unix", "iso8601"),
    default: "unix",
    meaning: {
      en: "format of `start_ts` and `end_ts`; `unix` is in seconds with a fraction",
      ru: "формат `start_ts` и `end_ts`; `unix` — секунды с дробной частью",
    },
  },

  health_port: {
    group: "health",
    applies: "restart",
    kind: integer(0, 65_535),
    default: "8042",
    meaning: {
      en: "port of the page, `/health` and `/metrics` on 127.0.0.1; 0 takes any free one",
      ru: "порт страницы, `/health` и `/metrics` на 127.0.0.1; 0 — любой свободный",
    },
  },

  otlp_endpoint: {
    group: "fleet",
    applies: "at_once",
    kind: OTLP_URL,
    absent: { en: "metrics are not pushed", ru: "метрики не отправляются" },
    since: "0.3.0",
    meaning: {
      en: "base URL of a receiver of metrics, OTLP over HTTP; `/v1/metrics` is added to it",
      ru: "базовый URL приёмника метрик, OTLP поверх HTTP; к нему добавляется `/v1/metrics`",
    },
  },
  otlp_headers: {
    group: "fleet",
    applies: "at_once",
    kind: HEADERS,
    absent: { en: "none", ru: "нет" },
    since: "0.3.0",
    meaning: {
      en: "header fields for that receiver, for instance its token",
      ru: "поля заголовка для этого приёмника, например его токен",
    },
  },
  otlp_interval_s: {
    group: "fleet",
    applies: "at_once",
    kind: integer(10, 3600, "seconds"),
    default: "60",
    since: "0.3.0",
    meaning: {
      en: "time between two pushes of the metrics",
      ru: "промежуток между двумя отправками метрик",
    },
  },
  heartbeat_url: {
    group: "fleet",
    applies: "at_once",
    kind: PING_URL,
    absent: { en: "no heartbeat", ru: "сигнал не отправляется" },
    since: "0.3.0",
    meaning: {
      en: "URL of a monitor that raises an alarm when the till is silent; `/fail` is added to " +
        "its path when something is wrong",
      ru: "URL монитора, который поднимает тревогу, когда касса молчит; при проблеме к пути " +
        "добавляется `/fail`",
    },
  },
  heartbeat_interval_s: {
    group: "fleet",
    applies: "at_once",
    kind: integer(10, 3600, "seconds"),
    default: "60",
    since: "0.3.0",
    meaning: {
      en: "time between two heartbeats",
      ru: "промежуток между двумя сигналами",
    },
  },
} satisfies KeyTable;

/** The same, for what goes through all keys. */
export const KEY_TABLE: KeyTable = KEYS;
