"""What stands on receipts, one table: a column a language, and no language lacks a line.

A text that is missing is an error before anything runs: every language fills every field of `Texts`.
Short words, because 32 columns is all that a 58 mm printer has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["LANGUAGES", "Texts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """All words of one language. `mirrored`: it is written from right to left."""

    mirrored: bool = False

    # titles, by `Outcome`
    approved: str
    offline: str
    declined: str
    reversed: str
    not_final: str
    refunded: str
    voided: str
    offline_declined: str
    refunded_in_full: str
    refunded_in_part: str
    offline_charged: str
    offline_not_charged: str

    # what stands under a title
    copy: str
    demo: str
    test: str
    training: str
    about_offline: str
    about_declined: str
    about_reversed: str
    about_not_final: str
    about_refunded: str
    about_voided: str
    about_offline_declined: str
    about_refunded_in_full: str
    about_refunded_in_part: str
    about_offline_charged: str
    about_offline_not_charged: str

    # labels
    total: str
    refund: str
    paid: str
    given_back: str
    left: str
    order: str
    time: str
    terminal: str
    payer: str
    refunded_to: str
    approval: str
    reference: str
    attempt: str
    number: str
    code: str
    provider: str
    licence: str

    # the close of a day
    close: str
    comparison: str
    balanced: str
    not_balanced: str
    batch: str
    payments: str
    offlines: str
    reversals: str
    refunds: str
    kiosk: str
    acquirer: str
    receipts: str
    differences: str

    reasons: Mapping[str, str]
    """By the acquirer's code of a decline (docs/protocol.md); one that has no words is told as it is."""


LANGUAGES: Final[Mapping[str, Texts]] = {
    "en": Texts(
        approved="PAYMENT APPROVED",
        offline="PAID OFFLINE",
        declined="DECLINED - NOTHING CHARGED",
        reversed="REVERSED - NOTHING CHARGED",
        not_final="NOT FINAL - DO NOT PAY AGAIN",
        refunded="REFUND",
        voided="VOID - PAYMENT CANCELLED",
        offline_declined="OFFLINE SALE DECLINED",
        refunded_in_full="PAID AND REFUNDED IN FULL",
        refunded_in_part="PAID AND REFUNDED IN PART",
        offline_charged="PAID OFFLINE, CHARGED SINCE",
        offline_not_charged="OFFLINE SALE - NOT CHARGED",
        copy="* COPY *",
        demo="*** DEMO: NOTHING REAL IS CHARGED ***",
        test="*** TEST: NOTHING REAL IS CHARGED ***",
        training="*** TRAINING: NOTHING REAL IS CHARGED ***",
        about_offline="Taken without a connection; your account is charged when there is one.",
        about_declined="You may pay this another way.",
        about_reversed="You may pay this again.",
        about_not_final="We are checking. Keep this slip.",
        about_refunded="It is paid back to the account that it came from.",
        about_voided="The whole amount goes back.",
        about_offline_declined="FOR STAFF. The goods were handed over and the account was not charged. "
        "The order stays paid at the till; take it up with the provider.",
        about_refunded_in_full="All of it was paid back to the account that it came from.",
        about_refunded_in_part="A part was paid back to the account that it came from.",
        about_offline_charged="Taken without a connection; your account has been charged since.",
        about_offline_not_charged="Taken without a connection. Your provider declined it later: "
        "your account was not charged. Please ask our staff.",
        total="TOTAL",
        refund="REFUND",
        paid="Was paid",
        given_back="Paid back",
        left="Left of it",
        order="Order",
        time="Time",
        terminal="Terminal",
        payer="Paid by",
        refunded_to="Back to",
        approval="Approval",
        reference="Reference",
        attempt="Attempt",
        number="Refund no.",
        code="Reason",
        provider="Provider",
        licence="Licence",
        close="CLOSE OF DAY",
        comparison="COMPARISON - NOT CLOSED",
        balanced="BALANCED",
        not_balanced="NOT BALANCED",
        batch="Batch",
        payments="Payments",
        offlines="Offline sales",
        reversals="Reversals",
        refunds="Refunds",
        kiosk="kiosk",
        acquirer="acquirer",
        receipts="receipts",
        differences="Differences",
        reasons={
            "declined": "no reason given",
            "mode": "kiosk and provider are not in one mode",
            "currency": "another currency",
            "insufficient_funds": "not enough money",
            "unknown_payer": "payer not known to the provider",
            "payer_blocked": "payer blocked by the provider",
            "payer_withdrawn": "payer took the consent back",
            "order_paid": "order was paid already",
            "over_payment_cap": "over the limit of one payment",
            "over_person_hour_cap": "over the payer's limit of an hour",
            "over_person_day_cap": "over the payer's limit of a day",
            "over_kiosk_day_cap": "over this kiosk's limit of a day",
            "velocity": "too many payments in an hour",
            "velocity_day": "too many payments in a day",
            "over_kiosk_day_count": "too many payments at this kiosk",
            "face_not_allowed": "payment by face not allowed",
            "pin_needed": "PIN needed",
            "wrong_pin": "wrong PIN",
            "pin_blocked": "PIN blocked after wrong ones",
            "pin_format": "PIN could not be read",
            "offline_not_allowed": "offline sales not allowed",
            "over_offline_cap": "over the limits of offline sales",
            "too_old": "forwarded too late",
            "reversed": "was undone before",
            "not_sent": "provider could not be reached",
            "malfunction": "the provider's own fault",
            "recovered": "its reason was lost",
            "other_content": "another refund has its number",
            "sequence_reused": "the journal was an older copy",
        },
    ),
    "zh-Hans": Texts(
        approved="支付成功",
        offline="离线支付",
        declined="支付未成功 · 未扣款",
        reversed="已撤销 · 未扣款",
        not_final="结果待确认 · 请勿重复支付",
        refunded="退款",
        voided="撤销 · 全额退回",
        offline_declined="离线交易被拒",
        refunded_in_full="已支付，已全额退款",
        refunded_in_part="已支付，已部分退款",
        offline_charged="离线支付 · 已扣款",
        offline_not_charged="离线交易 · 未扣款",
        copy="* 副本 *",
        demo="*** 演示：不会真实扣款 ***",
        test="*** 测试：不会真实扣款 ***",
        training="*** 培训：不会真实扣款 ***",
        about_offline="交易时没有网络，恢复连接后再扣款。",
        about_declined="您可以用其他方式支付。",
        about_reversed="您可以重新支付。",
        about_not_final="正在核实，请保留此小票。",
        about_refunded="款项退回原付款账户。",
        about_voided="款项全额退回原付款账户。",
        about_offline_declined="店员联。商品已交付，但账户未扣款。收银机上该订单仍为已支付，请与服务商联系处理。",
        about_refunded_in_full="款项已全部退回原付款账户。",
        about_refunded_in_part="部分款项已退回原付款账户。",
        about_offline_charged="交易时没有网络，之后已从您的账户扣款。",
        about_offline_not_charged="交易时没有网络，之后被支付机构拒绝：您的账户未扣款。请联系店员。",
        total="合计",
        refund="退款",
        paid="原支付",
        given_back="已退款",
        left="可退余额",
        order="订单号",
        time="时间",
        terminal="终端号",
        payer="付款人",
        refunded_to="退至",
        approval="授权号",
        reference="参考号",
        attempt="交易号",
        number="退款次序",
        code="原因",
        provider="服务商",
        licence="许可证号",
        close="日结",
        comparison="对账 · 未结",
        balanced="账目相符",
        not_balanced="账目不符",
        batch="批次",
        payments="支付",
        offlines="离线支付",
        reversals="撤销",
        refunds="退款",
        kiosk="本机",
        acquirer="收单方",
        receipts="小票",
        differences="差异",
        reasons={
            "declined": "未说明原因",
            "mode": "终端与支付机构模式不同",
            "currency": "币种不符",
            "insufficient_funds": "余额不足",
            "unknown_payer": "支付机构没有此付款人",
            "payer_blocked": "付款人已被支付机构停用",
            "payer_withdrawn": "付款人已撤回同意",
            "order_paid": "订单已支付",
            "over_payment_cap": "超出单笔限额",
            "over_person_hour_cap": "超出付款人每小时限额",
            "over_person_day_cap": "超出付款人每日限额",
            "over_kiosk_day_cap": "超出本机每日限额",
            "velocity": "一小时内支付次数过多",
            "velocity_day": "当日支付次数过多",
            "over_kiosk_day_count": "本机当日支付次数过多",
            "face_not_allowed": "不允许刷脸支付",
            "pin_needed": "需要密码",
            "wrong_pin": "密码错误",
            "pin_blocked": "密码多次错误，已锁定",
            "pin_format": "密码无法读取",
            "offline_not_allowed": "不允许离线支付",
            "over_offline_cap": "超出离线支付限额",
            "too_old": "上送过迟",
            "reversed": "此前已撤销",
            "not_sent": "无法连接支付机构",
            "malfunction": "支付机构自身故障",
            "recovered": "原因已丢失",
            "other_content": "该序号已有其他退款",
            "sequence_reused": "账本为较旧副本",
        },
    ),
    "ar": Texts(
        mirrored=True,
        approved="تمت الموافقة على الدفع",
        offline="دفع دون اتصال",
        declined="مرفوض - لم يُخصم شيء",
        reversed="ملغى - لم يُخصم شيء",
        not_final="غير نهائي - لا تدفع مرة أخرى",
        refunded="استرداد",
        voided="إلغاء الدفع",
        offline_declined="رُفض بيع دون اتصال",
        refunded_in_full="دُفع ثم استُرد كاملًا",
        refunded_in_part="دُفع ثم استُرد جزء منه",
        offline_charged="دفع دون اتصال - خُصم لاحقًا",
        offline_not_charged="بيع دون اتصال - لم يُخصم",
        copy="* نسخة *",
        demo="*** عرض: لا يُخصم مبلغ حقيقي ***",
        test="*** اختبار: لا يُخصم مبلغ حقيقي ***",
        training="*** تدريب: لا يُخصم مبلغ حقيقي ***",
        about_offline="تم البيع دون اتصال؛ يُخصم المبلغ من حسابك عند عودة الاتصال.",
        about_declined="يمكنك الدفع بطريقة أخرى.",
        about_reversed="يمكنك الدفع من جديد.",
        about_not_final="نتحقق من النتيجة. احتفظ بهذا الإيصال.",
        about_refunded="يُعاد المبلغ إلى الحساب الذي دُفع منه.",
        about_voided="يُعاد المبلغ كاملًا.",
        about_offline_declined="للموظفين. سُلّمت البضاعة ولم يُخصم المبلغ من الحساب. "
        "يبقى الطلب مدفوعًا في نقطة البيع؛ راجعوا مزوّد الخدمة.",
        about_refunded_in_full="أُعيد المبلغ كله إلى الحساب الذي دُفع منه.",
        about_refunded_in_part="أُعيد جزء من المبلغ إلى الحساب الذي دُفع منه.",
        about_offline_charged="تم البيع دون اتصال؛ وقد خُصم المبلغ من حسابك بعد ذلك.",
        about_offline_not_charged="تم البيع دون اتصال ثم رفضه مزوّد الخدمة: "
        "لم يُخصم شيء من حسابك. راجع الموظفين.",
        total="المجموع",
        refund="الاسترداد",
        paid="المدفوع",
        given_back="المُعاد",
        left="المتبقي منه",
        order="الطلب",
        time="الوقت",
        terminal="الجهاز",
        payer="الدافع",
        refunded_to="يُعاد إلى",
        approval="الموافقة",
        reference="المرجع",
        attempt="المحاولة",
        number="رقم الاسترداد",
        code="السبب",
        provider="المزوّد",
        licence="الترخيص",
        close="إقفال اليوم",
        comparison="مقارنة - لم يُقفل",
        balanced="متوازن",
        not_balanced="غير متوازن",
        batch="الدفعة",
        payments="المدفوعات",
        offlines="مبيعات دون اتصال",
        reversals="الإلغاءات",
        refunds="الاستردادات",
        kiosk="الجهاز",
        acquirer="المستحوذ",
        receipts="الإيصالات",
        differences="الفروق",
        reasons={
            "declined": "دون ذكر سبب",
            "mode": "وضع الجهاز غير وضع المزوّد",
            "currency": "عملة أخرى",
            "insufficient_funds": "الرصيد لا يكفي",
            "unknown_payer": "الدافع غير معروف لدى المزوّد",
            "payer_blocked": "أوقف المزوّد حساب الدافع",
            "payer_withdrawn": "سحب الدافع موافقته",
            "order_paid": "الطلب مدفوع من قبل",
            "over_payment_cap": "فوق حد الدفعة الواحدة",
            "over_person_hour_cap": "فوق حد الدافع في الساعة",
            "over_person_day_cap": "فوق حد الدافع في اليوم",
            "over_kiosk_day_cap": "فوق حد هذا الجهاز في اليوم",
            "velocity": "دفعات كثيرة في ساعة",
            "velocity_day": "دفعات كثيرة في يوم",
            "over_kiosk_day_count": "دفعات كثيرة على هذا الجهاز",
            "face_not_allowed": "الدفع بالوجه غير مسموح",
            "pin_needed": "الرمز السري مطلوب",
            "wrong_pin": "رمز سري خاطئ",
            "pin_blocked": "أُوقف الرمز بعد محاولات خاطئة",
            "pin_format": "تعذرت قراءة الرمز السري",
            "offline_not_allowed": "البيع دون اتصال غير مسموح",
            "over_offline_cap": "فوق حدود البيع دون اتصال",
            "too_old": "أُرسل متأخرًا",
            "reversed": "أُلغي من قبل",
            "not_sent": "تعذر الوصول إلى المزوّد",
            "malfunction": "عطل لدى المزوّد نفسه",
            "recovered": "ضاع سببه",
            "other_content": "لاسترداد آخر رقمه",
            "sequence_reused": "كان السجل نسخة أقدم",
        },
    ),
}
"""BCP 47 tag -> its words."""
