"""The sign that hangs beside a kiosk, in each language: what the camera does, for whom, and how to say no.

Facts come from the live kiosk, words from here. One printable page of HTML without scripts or anything
loaded, and the same as plain text. It says what the consent text says, in fewer words.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final

from kiosk.app.privacy_facts import Facts
from kiosk.domain.consent import AGE, KEEP_DAYS

__all__ = ["SIGNS", "sign_html", "sign_text"]


@dataclass(frozen=True, slots=True)
class Sign:
    """The words of one language; `points` are heading and text, with facts in braces."""

    direction: str
    title: str
    subtitle: str
    points: tuple[tuple[str, str], ...]
    responsible: str
    not_allowed: str
    no_money: str


SIGNS: Final = {
    "en": Sign(
        direction="ltr",
        title="You can pay by face here, if you want to",
        subtitle="Face recognition for payments at this kiosk",
        points=(
            ("Your choice", "Every other way to pay works as well and costs the same."),
            (
                "The camera is off",
                "until somebody presses “Pay with face”. No picture and no video is kept. "
                "Who has not enrolled leaves nothing behind.",
            ),
            (
                "What is kept",
                "Of people who enrolled: a list of numbers that describes the face (a template), encrypted.",
            ),
            (
                "What for",
                "To recognise you when you pay. Not to watch the shop, not for advertising, not to judge "
                "age, mood or health.",
            ),
            (
                "How long",
                "{days} days, unless you chose another time. Withdraw here whenever you like: deleted on "
                "this kiosk at once, on every kiosk that is online within a minute.",
            ),
            (
                "Who receives it",
                "{provider} (licence {licence}), which carries out the payments. Nobody else.",
            ),
            (
                "Your rights",
                "See what is kept, get it as a file, have it corrected or deleted, dispute a payment, "
                "complain to the data protection authority. Ask staff, or whoever is named below.",
            ),
            ("Under {age}", "Only with a parent or guardian."),
        ),
        responsible="Responsible for this kiosk: {controller}",
        not_allowed="Face payment is switched off here at present.",
        no_money="Demonstration: no real payment is made.",
    ),
    "zh-Hans": Sign(
        direction="ltr",
        title="此处可以刷脸支付，由您自愿选择",
        subtitle="本机使用人脸识别进行支付",
        points=(
            ("自愿选择", "其他支付方式同样可用，价格相同。"),
            (
                "摄像头平时关闭",
                "只有按下“刷脸支付”后才会开启。不保存任何照片或视频。未登记的人不会留下任何信息。",
            ),
            ("保存什么", "仅限已登记的人：一组描述面部的数字（模板），加密保存。"),
            ("用途", "仅在您支付时识别您。不用于监视店铺，不用于广告，不判断年龄、情绪或健康。"),
            (
                "保存多久",
                "{days} 天，除非您另选期限。您可随时在此撤回同意："
                "本机立即删除，所有在线的机器在一分钟内删除。",
            ),
            ("谁会收到", "{provider}（许可证 {licence}），由其办理支付。不提供给其他任何人。"),
            (
                "您的权利",
                "查询保存的内容、取得副本、更正或删除、对支付提出争议、向个人信息保护部门投诉。"
                "请询问店员，或联系下方的负责人。",
            ),
            ("未满 {age} 周岁", "须由父母或其他监护人陪同。"),
        ),
        responsible="本机负责人：{controller}",
        not_allowed="此处目前停用刷脸支付。",
        no_money="演示：不会真实扣款。",
    ),
    "ar": Sign(
        direction="rtl",
        title="يمكنك الدفع بالوجه هنا إن شئت",
        subtitle="التعرّف على الوجه للدفع عند هذا الجهاز",
        points=(
            ("الخيار لك", "كل طرق الدفع الأخرى متاحة أيضًا وبالسعر نفسه."),
            (
                "الكاميرا مطفأة",
                "إلى أن يضغط أحد على «الدفع بالوجه». لا تُحفظ أي صورة ولا أي فيديو. "
                "ومن لم يسجّل لا يترك وراءه شيئًا.",
            ),
            ("ماذا يُحفظ", "عن المسجّلين فقط: قائمة أرقام تصف الوجه (القالب)، وهي مشفّرة."),
            (
                "لأي غرض",
                "للتعرّف عليك عند الدفع. لا لمراقبة المتجر ولا للإعلان ولا للحكم على العمر أو المزاج أو "
                "الصحة.",
            ),
            (
                "إلى متى",
                "{days} يومًا ما لم تختر مدة أخرى. يمكنك سحب موافقتك هنا متى شئت: يُحذف القالب من هذا الجهاز "
                "فورًا، ومن كل جهاز متصل خلال دقيقة.",
            ),
            ("من يتسلّمها", "{provider} (الترخيص {licence}) التي تنفّذ المدفوعات، ولا أحد غيرها."),
            (
                "حقوقك",
                "أن ترى ما يُحفظ عنك، وتحصل عليه في ملف، وتطلب تصحيحه أو حذفه، وتعترض على دفعة، وتشتكي إلى "
                "هيئة حماية البيانات. اسأل الموظفين أو الجهة المذكورة أدناه.",
            ),
            ("دون {age} عامًا", "بحضور أحد الوالدين أو الوصي فقط."),
        ),
        responsible="المسؤول عن هذا الجهاز: {controller}",
        not_allowed="الدفع بالوجه متوقف هنا حاليًا.",
        no_money="عرض تجريبي: لا يُدفع مال حقيقي.",
    ),
}
"""Languages: those of the consent text (`domain.consent.LANGUAGES`)."""

BLANK: Final = "________________"
"""Where nothing is set: a line to be written on, so that a page without a contact looks like one."""

_FACE: Final = (
    '<svg viewBox="0 0 64 64" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="4" '
    'stroke-linecap="round"><path d="M4 18V8a4 4 0 0 1 4-4h10M46 4h10a4 4 0 0 1 4 4v10M60 46v10a4 4 0 0 1-4 '
    '4H46M18 60H8a4 4 0 0 1-4-4V46"/><circle cx="32" cy="32" r="17"/><path d="M26 29v1M38 29v1M25 38c4 4 10 '
    '4 14 0"/></g></svg>'
)
_STYLE: Final = (
    "@page{size:A4;margin:0}*{box-sizing:border-box}p{margin:0}"
    "body{margin:0 auto;width:210mm;min-height:288mm;padding:10mm;background:#fff;color:#14202b;"
    "font:12.2pt/1.38 'Noto Sans','Noto Sans Arabic','Segoe UI',Arial,'DejaVu Sans','Noto Sans CJK SC',"
    "sans-serif;display:flex;flex-direction:column;gap:5mm}"
    "header{display:flex;gap:7mm;align-items:center;background:#0b3d5c;color:#fff;border-radius:5mm;"
    "padding:6mm 8mm}header svg{width:28mm;height:28mm;flex:none}"
    "h1{font-size:25pt;line-height:1.2;margin:0}header p{margin-top:2mm;font-size:13.5pt}"
    ".note{border:1mm solid #8a1c1c;color:#8a1c1c;border-radius:3mm;padding:2mm 5mm;font-weight:bold}"
    "main{display:grid;grid-template-columns:1fr 1fr;gap:4mm;flex:1}"
    "section{border:.4mm solid #9fb3c2;border-radius:3mm;padding:3.5mm 5mm;break-inside:avoid}"
    "h2{font-size:15pt;line-height:1.25;margin:0 0 1mm;color:#0b3d5c}"
    "footer{border-top:.4mm solid #9fb3c2;padding-top:3mm;font-size:11.5pt}"
)


def sign_html(facts: Facts, language: str) -> str:
    """One printable page (A4), on one side. KeyError for a language that has no words."""
    sign, put = SIGNS[language], _facts(facts)
    points = "".join(
        f"<section><h2>{escape(heading.format(**put))}</h2><p>{_text(text, put)}</p></section>"
        for heading, text in sign.points
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in _notes(facts, sign))
    return (
        f'<!DOCTYPE html>\n<html lang="{language}" dir="{sign.direction}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(sign.title)}</title><style>{_STYLE}</style></head><body>"
        f"<header>{_FACE}<div><h1>{escape(sign.title)}</h1><p>{escape(sign.subtitle)}</p></div></header>"
        f"{notes}<main>{points}</main>"
        f"<footer><p>{_text(sign.responsible, put)}</p><p>{_text('{contact}', put)}</p>"
        f"<p><bdi>{escape(facts.terminal)}</bdi> · <bdi>{facts.made_at:%Y-%m-%d}</bdi></p></footer>"
        "</body></html>\n"
    )


def sign_text(facts: Facts, language: str) -> str:
    """The same as lines, for a screen reader, a web page or a translator."""
    sign, put = SIGNS[language], _facts(facts)
    lines = [sign.title, sign.subtitle, "", *_notes(facts, sign)]
    for heading, text in sign.points:
        lines += [f"{heading.format(**put)}: {text.format(**put)}", ""]
    lines += [sign.responsible.format(**put), put["contact"], f"{facts.terminal} · {facts.made_at:%Y-%m-%d}"]
    return "\n".join(lines) + "\n"


def _facts(facts: Facts) -> dict[str, str]:
    return {
        "days": str(KEEP_DAYS),
        "age": str(AGE),
        "provider": facts.provider or BLANK,
        "licence": facts.licence or BLANK,
        "controller": facts.controller,
        "contact": facts.contact or BLANK,
    }


def _text(text: str, put: dict[str, str]) -> str:
    """Words with facts put in; each fact in its own direction of writing."""
    return escape(text).format(**{name: f"<bdi>{escape(fact)}</bdi>" for name, fact in put.items()})


def _notes(facts: Facts, sign: Sign) -> list[str]:
    notes = [] if facts.mode == "production" else [sign.no_money]
    if not facts.face_allowed:
        notes.append(f"{sign.not_allowed} {facts.law_note}".rstrip())
    return notes
