//! Generic scenarios of version-3 transactions and of packages.

use crate::chain::Reason;
use crate::sim::scenario::fees::min_fee;
use crate::sim::scenario::lab::{Draft, FEE, Lab, Tale, output_of};
use crate::sim::scenario::{BuildError, Scenario};

pub(super) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, BuildError> {
    Ok(vec![
        versions(lab)?,
        sizes(lab)?,
        sibling(lab)?,
        generations(lab)?,
        package(lab)?,
        package_replacement(lab)?,
        package_shape(lab)?,
    ])
}

fn versions(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let two = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE))?;
    let three = lab.sign(Draft::sweep(&lab.coin(2)?, &script, FEE).version(3))?;
    let of_two = Draft::sweep(&output_of(&two, 0, &key), &script, FEE).version(3);
    let of_three = Draft::sweep(&output_of(&three, 0, &key), &script, FEE).version(2);
    let (of_two, of_three) = (lab.sign(of_two)?, lab.sign(of_three)?);
    Ok(Tale::new("unconfirmed_version_3_and_others_do_not_mix")?
        .submit("version 2", &two)
        .submit("version 3", &three)
        .refuse("version 3 on version 2", &of_two, Reason::Truc)
        .refuse("version 2 on version 3", &of_three, Reason::Truc)
        .mine(1)?
        .submit("version 3 on confirmed version 2", &of_two)
        .submit("version 2 on confirmed version 3", &of_three)
        .end())
}

fn sizes(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let sized = |height: u32, vsize: usize| {
        let draft =
            || Ok::<_, BuildError>(Draft::sweep(&lab.coin(height)?, &script, FEE).version(3));
        let base = lab.sign(draft()?)?.vsize();
        lab.sign(draft()?.padded(vsize.saturating_sub(base)))
    };
    let large = sized(1, 10_000)?;
    let too_large = sized(2, 10_001)?;
    let parent = lab.sign(Draft::sweep(&lab.coin(3)?, &script, FEE).version(3))?;
    let coin = output_of(&parent, 0, &key);
    let child = |vsize: usize| {
        let draft = || Draft::sweep(&coin, &script, FEE).version(3);
        let base = lab.sign(draft())?.vsize();
        lab.sign(draft().padded(vsize.saturating_sub(base)))
    };
    Ok(Tale::new("version_3_is_at_most_10000_vbytes_and_1000_as_a_child")?
        .submit("10,000 vB", &large)
        .refuse("10,001 vB", &too_large, Reason::Truc)
        .connect("10,001 vB in a block", &[&too_large])
        .submit("parent", &parent)
        .refuse("child of 1,001 vB", &child(1_001)?, Reason::Truc)
        .submit("child of 1,000 vB", &child(1_000)?)
        .end())
}

fn sibling(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let parent = Draft::sweep(&lab.coin(1)?, &script, FEE).version(3).and(1_000_000, &script);
    let parent = lab.sign(parent)?;
    let child = |vout: u32, fee: u64| {
        let coin = output_of(&parent, vout, &key);
        lab.sign(Draft::sweep(&coin, &script, fee).version(3))
    };
    let first = child(0, 1_000)?;
    let step = min_fee(&first);
    let short = child(1, step.saturating_add(1_000).saturating_sub(1))?;
    let enough = child(1, step.saturating_add(1_000))?;
    let back = child(0, 5_000)?;
    Ok(Tale::new("second_child_of_version_3_must_evict_the_first")?
        .submit("parent", &parent)
        .submit("first child", &first)
        .refuse("pays too little", &short, Reason::InsufficientReplacement)
        .submit("pays enough", &enough)
        .absent("evicted sibling", &first)
        .submit("and back", &back)
        .absent("evicted in turn", &enough)
        .mine(1)?
        .submit("after the parent is mined", &enough)
        .end())
}

fn generations(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let parent = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE).version(3))?;
    let other = lab.sign(Draft::sweep(&lab.coin(2)?, &script, FEE).version(3))?;
    let coin = output_of(&parent, 0, &key);
    let child = lab.sign(Draft::sweep(&coin, &script, FEE).version(3))?;
    let grandchild = Draft::sweep(&output_of(&child, 0, &key), &script, FEE).version(3);
    let grandchild = lab.sign(grandchild)?;
    let of_both = Draft::sweep(&coin, &script, FEE).version(3);
    let of_both = lab.sign(of_both.with(&output_of(&other, 0, &key)))?;
    Ok(Tale::new("version_3_has_one_unconfirmed_parent_and_no_grandparent")?
        .submit("parent", &parent)
        .submit("other parent", &other)
        .refuse("child of both", &of_both, Reason::Truc)
        .submit("child", &child)
        .refuse("grandchild", &grandchild, Reason::Truc)
        .mine(1)?
        .submit("grandchild of the confirmed", &grandchild)
        .end())
}

fn package(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let parent = lab.sign(Draft::sweep(&lab.coin(1)?, &script, 0).version(3))?;
    let coin = output_of(&parent, 0, &key);
    let child = |fee: u64| lab.sign(Draft::sweep(&coin, &script, fee).version(3));
    // Package fees count the virtual sizes of the members, each rounded up.
    let vsize = parent.vsize().saturating_add(child(FEE)?.vsize());
    let floor = u64::try_from(vsize).unwrap_or(u64::MAX).div_ceil(10);
    let short = child(floor.saturating_sub(1))?;
    let enough = child(floor)?;
    let forged = crate::sim::scenario::lab::forged(&enough);
    let plain = lab.sign(Draft::sweep(&lab.coin(2)?, &script, 0))?;
    let of_plain = lab.sign(Draft::sweep(&output_of(&plain, 0, &key), &script, FEE))?;
    Ok(Tale::new("child_pays_for_a_parent_without_fee_in_one_package")?
        .refuse("parent alone", &parent, Reason::MinRelayFee)
        .refuse("child alone", &enough, Reason::MissingInputs)
        .refuse_package("pays too little for both", &[&parent, &short], Reason::MinRelayFee)
        .refuse_package("forged child", &[&parent, &forged], Reason::BadScript)
        .package("pays just enough", &[&parent, &enough])
        .present("parent", &parent)
        .package("once more", &[&parent, &enough])
        .package("version 2 likewise", &[&plain, &of_plain])
        .mine(1)?
        .absent("mined parent", &parent)
        .absent("mined child", &enough)
        .end())
}

fn package_replacement(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let coin = lab.coin(1)?;
    let old = lab.sign(Draft::sweep(&coin, &script, 5_000).version(3))?;
    let parent = lab.sign(Draft::sweep(&coin, &script, 0).version(3))?;
    let of_parent = output_of(&parent, 0, &key);
    let child = |fee: u64| lab.sign(Draft::sweep(&of_parent, &script, fee).version(3));
    let vsize = parent.vsize().saturating_add(child(FEE)?.vsize());
    let step = u64::try_from(vsize).unwrap_or(u64::MAX).div_ceil(10);
    let short = child(step.saturating_add(5_000).saturating_sub(1))?;
    // A package is larger than what it replaces, so at a single block it must pay a better rate.
    let enough = child(20_000)?;
    Ok(Tale::new("package_replaces_a_conflict_by_what_its_members_pay_together")?
        .submit("old", &old)
        .refuse_package("pays too little", &[&parent, &short], Reason::InsufficientReplacement)
        .package("pays enough", &[&parent, &enough])
        .absent("replaced", &old)
        .mine(1)?
        .absent("mined", &enough)
        .end())
}

fn package_shape(lab: &Lab) -> Result<Scenario, BuildError> {
    let key = lab.key("anna")?;
    let script = lab.p2tr(&key);
    let parent = lab.sign(Draft::sweep(&lab.coin(1)?, &script, FEE))?;
    let child = lab.sign(Draft::sweep(&output_of(&parent, 0, &key), &script, FEE))?;
    let stranger = lab.sign(Draft::sweep(&lab.coin(2)?, &script, FEE))?;
    let rival = Draft::sweep(&output_of(&parent, 0, &key), &script, FEE).with(&lab.coin(1)?);
    let rival = lab.sign(rival)?;
    Ok(Tale::new("packages_that_are_no_child_with_its_parents_are_refused")?
        .refuse_package("child first", &[&child, &parent], Reason::BadPackage)
        .refuse_package("strangers", &[&parent, &stranger], Reason::BadPackage)
        .refuse_package("conflict inside", &[&parent, &rival], Reason::BadPackage)
        .refuse_package("twice the same", &[&parent, &parent], Reason::BadPackage)
        .package("parent, then child", &[&parent, &child])
        .end())
}
